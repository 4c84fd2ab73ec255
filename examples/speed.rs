use kawaraban::feed::{self, Hints};
use std::time::Instant;
fn main() {
    let mut files: Vec<_> = Vec::new();
    for dir in std::env::args().skip(1) {
        for e in std::fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            if p.is_file() {
                files.push((p.clone(), std::fs::read(p).unwrap()));
            }
        }
    }
    let total: usize = files.iter().map(|f| f.1.len()).sum();
    println!("{} files {} bytes", files.len(), total);
    let h = Hints::default();
    let mut run = |name: &str, f: &dyn Fn(&[u8]) -> usize| {
        let mut sum = 0f64;
        let mut worst: Vec<(f64, String)> = vec![];
        for (p, b) in &files {
            let mut best = f64::MAX;
            for _ in 0..5 {
                let t = Instant::now();
                std::hint::black_box(f(b));
                best = best.min(t.elapsed().as_secs_f64());
            }
            sum += best;
            worst.push((
                best * 1e9 / b.len().max(2000) as f64,
                format!("{} {}", p.file_name().unwrap().to_string_lossy(), b.len()),
            ));
        }
        println!("{name:30} {:8.1} MB/s", total as f64 / sum / 1e6);
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        if std::env::var("WORST").is_ok() {
            for w in worst.iter().take(8) {
                println!("     {:.2} ns/B {}", w.0, w.1);
            }
        }
    };
    run("bare", &|b| {
        let t = feed::decode(b, &h);
        let Ok(t) = t else { return 0 };
        let mut r = quick_xml::Reader::from_str(&t.text);
        let c = r.config_mut();
        c.check_end_names = false;
        c.allow_unmatched_ends = true;
        c.allow_dangling_amp = true;
        let mut n = 0;
        loop {
            match r.read_event() {
                Ok(quick_xml::events::Event::Eof) | Err(_) => break,
                _ => n += 1,
            }
        }
        n
    });
    run("decode", &|b| feed::decode(b, &h).map(|t| t.text.len()).unwrap_or(0));
    run("read+facts", &|b| {
        let Ok(t) = feed::decode(b, &h) else { return 0 };
        let Ok(d) = feed::read(&t, &h) else { return 0 };
        kawaraban::identity::keys(d.entries.iter().map(|e| e.facts())).len()
    });
    run("read", &|b| {
        let Ok(t) = feed::decode(b, &h) else { return 0 };
        let Ok(d) = feed::read(&t, &h) else { return 0 };
        d.entries.len()
    });
    run("parse", &|b| feed::parse(b, &h).map(|d| d.items.len()).unwrap_or(0));
    run("feed-rs", &|b| {
        std::panic::catch_unwind(|| feed_rs::parser::parse(b).map(|f| f.entries.len()).unwrap_or(0)).unwrap_or(0)
    });
}
