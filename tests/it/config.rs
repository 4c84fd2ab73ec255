use kawaraban::config::load::{LoadOptions, load};

#[test]
fn scratch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.toml");
    for text in [
        "", "[fetch]\ninterval = 5m\ntimeut = \"3s\"\n", "[fetch]\ninterval = \"5x\"\njitter = nan\nretry = 3\n[fetch.breaker]\ncooldwn=1\n",
        "[[source]]\n", "  [[source]]\nname = \"A\"\n[[source]]\nname='ann'\nurl='ftp://x/y'\nkind='html'\nretry={attempts=0}\n[source.html]\nx=1\n[[source]]\nname='ann'\nurl=''\nto=['nws']\n[[destination]]\nname='news'\nkind='discord'\nurl='https://discord.com/api/webhooks/1/tok/slack'",
        "a = 1\na = 2\n[fetch\nx = \"abc\n", "[fetch]\nmax_body = 8MiB\nkeep_alive = yes\n[log]\nlevel=\"inf\"", "x = [1,\n2\ny=3\nz = 4\n",
        "\0", "[http]\nlisten=['localhost:1', 3, '0.0.0.0:1']\nrequire_token=true", "[source]\nname='x'", "[[source]]\nname='a'\n[fetch]\nmax_body=1", "x = '''abc\nurl = \"x\"\n",
        "[fetch.retry]\nmin_backoff='20s'\n[[source]]\nname='a'\nurl='http://a'\nretry.max_backoff='1s'\nbreaker={cooldown='1h', max_cooldown='5m'}\ninclude.title=['(']",
        "url = https://discord.com/api/webhooks/1/tok",
    ] {
        std::fs::write(&path, text).unwrap();
        println!("=====\n{text}\n-----");
        match load(&path, &LoadOptions { read_secrets: true, env: &|_| None }) {
            Ok(l) => println!("ok {:?}", l.warnings),
            Err(d) => println!("{}", d.to_string().replace(path.to_str().unwrap(), "F")),
        }
    }
}
