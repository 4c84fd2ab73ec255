//! The dependency rule of ARCHITECTURE.md: modules import only what stands below them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each module with what it may import of ours. A submodule follows its parent's line unless it has its own.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("page", &["feed", "identity", "model"]),
    ("config", &["memory", "model", "page"]),
    ("resilience", &["config", "model"]),
    ("identity", &["model"]),
    ("feed", &["identity", "model"]),
    ("memory", &["model"]),
    ("fetch", &["config", "memory", "model"]),
    ("store", &["config", "identity", "model", "resilience"]),
    ("poll", &["config", "feed", "identity", "model", "page", "resilience", "store"]),
    ("health", &["model", "resilience", "store"]),
    ("delivery", &["config", "fetch", "health", "model", "resilience", "store"]),
    ("actors::messages", &["config", "health", "model", "resilience", "store"]),
    ("actors", &["config", "delivery", "fetch", "health", "memory", "model", "poll", "resilience", "store"]),
    ("web", &["actors::messages", "config", "health", "model"]),
    (
        "app",
        &[
            "actors",
            "config",
            "delivery",
            "feed",
            "fetch",
            "health",
            "identity",
            "memory",
            "model",
            "page",
            "poll",
            "resilience",
            "store",
            "web",
        ],
    ),
    ("cli", &["app", "config", "delivery", "feed", "fetch", "health", "model", "resilience", "store"]),
];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The modules named by `crate::…` in a file, groups and the lines of a multi-line `use crate::{…}` included.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => {
                        found.insert(std::mem::take(&mut name));
                    }
                    c if depth == 1 && !c.is_whitespace() => name.push(c),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            found.insert(name);
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect());
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn line_of<'a>(module: &str, lines: &BTreeMap<&'a str, &'a [&'a str]>) -> Option<(&'a str, &'a [&'a str])> {
    let covers = |name: &str| module == name || module.starts_with(&format!("{name}::"));
    lines.iter().filter(|(name, _)| covers(name)).max_by_key(|(name, _)| name.len()).map(|(name, line)| (*name, *line))
}

#[test]
fn modules_import_only_what_stands_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let module = relative.to_string_lossy().replace('/', "::");
        if module == "lib" || module == "main" {
            continue;
        }
        let Some((own, allowed)) = line_of(&module, &lines) else {
            wrong.push(format!("{module} has no line in the table"));
            continue;
        };
        // what stands in test modules may look wherever it wants
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for import in imports(text) {
            let top = import.split("::").next().unwrap_or_default();
            let covers = |name: &&str| import == **name || import.starts_with(&format!("{name}::"));
            let own_top = own.split("::").next().unwrap_or_default();
            if top != own_top && !allowed.iter().any(covers) {
                wrong.push(format!("{module} imports crate::{import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "the dependency rule is broken:\n{}", wrong.join("\n"));
}
