//! Small libraries in C that are loaded before libc (`LD_PRELOAD`) to make the real program's system calls fail,
//! wait or lie. Their sources lie in `shim/`, and the machine's `cc` builds them when a test asks.

use std::{
    collections::HashMap,
    env::temp_dir,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

static BUILT: Mutex<Option<HashMap<String, Option<PathBuf>>>> = Mutex::new(None);

/// The library built from `tests/support/shim/NAME.c`, for `LD_PRELOAD`. None where it cannot be built, which is
/// said: the test is skipped then.
pub fn build(name: &str) -> Option<PathBuf> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let library = built.get_or_insert_default().entry(name.to_owned()).or_insert_with(|| compile(name));
    if library.is_none() {
        eprintln!("SKIPPED: {name}.c could not be built: it needs Linux and a C compiler named cc");
    }
    library.clone()
}

fn compile(name: &str) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/support/shim/{name}.c"));
    // each process its own: another test run may be building at the same time
    let library = temp_dir().join(format!("kawaraban-{name}-{}.so", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
    let status = cc.stdin(Stdio::null()).status();
    status.is_ok_and(|status| status.success()).then_some(library)
}
