//! Prints what the feed parser reads of each file, one JSON line a file.

use std::io::Write;

fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let line = match kawaraban::feed::parse(&bytes, &kawaraban::feed::Hints::default()) {
            Ok(document) => {
                let mut line = serde_json::to_value(&document).unwrap_or_default();
                line["file"] = file.as_str().into();
                line
            }
            Err(error) => serde_json::json!({"file": file, "error": error}),
        };
        let _ = writeln!(out, "{line}");
    }
}
