#![allow(missing_docs)]
use kawaraban::feed::{self, Hints};
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    let mut files: Vec<Vec<u8>> = Vec::new();
    for dir in std::env::args().skip(2) {
        for e in std::fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            if p.is_file() {
                files.push(std::fs::read(p).unwrap());
            }
        }
    }
    let h = Hints::default();
    for _ in 0..60 {
        for b in &files {
            match mode.as_str() {
                "parse" => {
                    let _ = std::hint::black_box(feed::parse(b, &h));
                }
                _ => {
                    let t = feed::decode(b, &h).unwrap();
                    let _ = std::hint::black_box(feed::read(&t, &h));
                }
            }
        }
    }
}
