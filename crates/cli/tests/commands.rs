//! The commands as people and scripts meet them: output, exit codes, errors with their hints.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may panic anywhere")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

fn finish(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn tercet(dir: &Path, args: &[&str]) -> Ran {
    finish(command(dir).args(args))
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn alone_it_welcomes_on_one_screen() {
    let ran = tercet(dir().path(), &[]);
    assert_eq!((ran.code, ran.stdout.lines().count(), ran.stderr.as_str()), (0, 19, ""));
    assert!(ran.stdout.ends_with("  tercet pub demo/hi hello\n"));
}

#[test]
fn usage_is_exit_2_and_help_is_exit_0() {
    let dir = dir();
    for args in
        [&["bogus"][..], &["config"], &["config", "bogus"], &["version", "--bogus"], &["completions", "tcsh"]]
    {
        let ran = tercet(dir.path(), args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
    assert!(tercet(dir.path(), &["confg"]).stderr.contains("'config'"));
    for args in [&["--help"][..], &["help", "config"], &["config", "init", "-h"], &["--version"]] {
        let ran = tercet(dir.path(), args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        assert!(!ran.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn short_help_fits_a_screen() {
    let dir = dir();
    for args in [&["-h"][..], &["config", "-h"], &["config", "check", "-h"], &["passwd", "-h"]] {
        assert!(tercet(dir.path(), args).stdout.lines().count() <= 40, "{args:?}");
    }
}

#[test]
fn version_as_text_and_json() {
    let dir = dir();
    assert_eq!(tercet(dir.path(), &["version"]).stdout, concat!("tercet ", env!("CARGO_PKG_VERSION"), "\n"));
    let json: serde_json::Value =
        serde_json::from_str(&tercet(dir.path(), &["version", "--json"]).stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn config_init_writes_once_and_check_accepts_it() {
    let dir = dir();
    let first = tercet(dir.path(), &["config", "init"]);
    assert_eq!((first.code, first.stdout.as_str()), (0, ""));
    assert!(dir.path().join("tercet.toml").is_file());
    let second = tercet(dir.path(), &["config", "init"]);
    assert_eq!(second.code, 1);
    assert_eq!(
        second.stderr,
        "error: tercet.toml exists already\nhint: to replace it: tercet config init --force tercet.toml\n"
    );
    assert_eq!(tercet(dir.path(), &["config", "init", "--force"]).code, 0);
    let checked = tercet(dir.path(), &["config", "check"]);
    assert_eq!(checked.code, 0);
    assert_eq!(
        checked.stdout,
        "ok: tercet.toml: mqtt 127.0.0.1:1883, amqp 127.0.0.1:5672, coap 127.0.0.1:5683, \
         coap-tcp 127.0.0.1:5683, http 127.0.0.1:15672\n"
    );
    let shown = tercet(dir.path(), &["config", "init", "-"]);
    assert_eq!(shown.stdout, std::fs::read_to_string(dir.path().join("tercet.toml")).unwrap());
}

#[test]
fn config_check_reports_everything_and_exits_78() {
    let dir = dir();
    let text = "[mqtt]\nlisener = 1\n[listen]\nmqtt = \"1883\"\n[auth]\npassword-file = \"none.txt\"\n";
    std::fs::write(dir.path().join("bad.toml"), text).unwrap();
    let ran = tercet(dir.path(), &["config", "check", "bad.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (78, ""));
    let expected = "error: bad.toml:2:1: unknown key \"lisener\" in [mqtt]\n\
        error: bad.toml:4:8: mqtt: expected an address \"ip:port\", \":port\" or \"off\", found \"1883\"\n\
        hint: write \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every interface\n\
        2 mistakes in bad.toml\n";
    assert_eq!(ran.stderr, expected);
    let json: serde_json::Value =
        serde_json::from_str(&tercet(dir.path(), &["config", "check", "--json", "bad.toml"]).stdout).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!((&json["problems"][1]["line"], &json["problems"][1]["column"]), (&4.into(), &8.into()));
    // Files are looked at once the rest is right.
    std::fs::write(dir.path().join("bad.toml"), "[auth]\npassword-file = \"none.txt\"\n").unwrap();
    let ran = tercet(dir.path(), &["config", "check", "bad.toml"]);
    assert_eq!(ran.code, 78);
    assert!(
        ran.stderr.starts_with("error: bad.toml:2:1: auth.password-file: cannot read none.txt: "),
        "{}",
        ran.stderr
    );
    assert_eq!(tercet(dir.path(), &["config", "check", "none.toml"]).code, 78);
}

#[test]
fn config_show_tells_origins() {
    let dir = dir();
    std::fs::write(dir.path().join("a.toml"), "[limits]\noutbox = \"1MiB\"\n").unwrap();
    let mut show = command(dir.path());
    show.args(["config", "show", "--origin"]).env("TERCET_CONFIG", "a.toml").env("TERCET_LOG__LEVEL", "warn");
    let ran = finish(&mut show);
    assert_eq!(ran.code, 0);
    let line = |key: &str| ran.stdout.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("outbox = \"1MiB\"").ends_with("# a.toml:2:1"));
    assert!(line("level = \"warn\"").ends_with("# $TERCET_LOG__LEVEL"));
    assert!(line("threads = \"auto\"").ends_with("# default"));
    let json: serde_json::Value =
        serde_json::from_str(&tercet(dir.path(), &["config", "show", "--json", "a.toml"]).stdout).unwrap();
    assert_eq!(json["limits"]["outbox"], "1MiB");
}

#[test]
fn users_are_added_changed_listed_and_deleted() {
    let dir = dir();
    let passwd = |args: &[&str]| tercet(dir.path(), &[&["passwd"], args].concat());
    assert_eq!(passwd(&["-b", "u.txt", "alice", "secret"]).stderr, "added user alice in u.txt\n");
    assert_eq!(passwd(&["-b", "u.txt", "alice", "other"]).stderr, "changed user alice in u.txt\n");
    let mut piped = command(dir.path());
    let mut child = piped
        .args(["passwd", "--no-scram", "u.txt", "bob"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(passwd(&["--list", "u.txt"]).stdout, "alice\nbob\n");
    let json: serde_json::Value =
        serde_json::from_str(&passwd(&["--list", "--json", "u.txt"]).stdout).unwrap();
    assert_eq!((&json[0]["scram"], &json[1]["scram"]), (&true.into(), &false.into()));
    assert_eq!(passwd(&["-D", "u.txt", "alice"]).code, 0);
    let missing = passwd(&["-D", "u.txt", "alice"]);
    assert_eq!(missing.code, 1);
    assert_eq!(
        missing.stderr,
        "error: there is no user alice in u.txt\nhint: to see who is: tercet passwd --list u.txt\n"
    );
    assert_eq!(passwd(&["-b", "u.txt", "a:b", "x"]).code, 2);
    assert_eq!(passwd(&["-b", "u.txt", "a", ""]).code, 2);
    assert_eq!(passwd(&["u.txt"]).code, 2);
    let stored = std::fs::read_to_string(dir.path().join("u.txt")).unwrap();
    assert!(stored.contains("$argon2id$") && !stored.contains("secret") && !stored.contains("from stdin"));
    std::fs::write(dir.path().join("broken.txt"), "no hash\n").unwrap();
    assert_eq!(passwd(&["--list", "broken.txt"]).code, 78);
}

#[test]
fn completions_and_manual_pages() {
    let dir = dir();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = tercet(dir.path(), &["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}");
        assert!(ran.stdout.contains("passwd"), "{shell}");
    }
    assert_eq!(tercet(dir.path(), &["man", "pages"]).code, 0);
    let page = |name: &str| std::fs::read_to_string(dir.path().join("pages").join(name)).unwrap();
    assert!(page("tercet.1").contains("broker"));
    assert!(page("tercet-config-init.1").contains("FILE"));
    assert!(page("tercet-passwd.1").contains("argon2id"));
}
