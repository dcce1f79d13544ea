//! The schema as documents: the commented file of `tercet config init` and `docs/configuration.md`.

use std::fmt::Write as _;

use super::schema::{Entry, env_name};
use super::tables::{self, Described};

/// Values for keys of optional tables that have no useful default.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("tls", "cert", "\"/etc/tercet/cert.pem\""),
    ("tls", "key", "\"/etc/tercet/key.pem\""),
    ("listener", "name", "\"field\""),
    ("listener", "bind", "\"0.0.0.0:1884\""),
    ("listener.tls", "cert", "\"/etc/tercet/cert.pem\""),
    ("listener.tls", "key", "\"/etc/tercet/key.pem\""),
    ("listener.redirect", "reference", "\"other.example:1883\""),
];

fn example(path: &str, key: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(p, k, _)| *p == path && *k == key).map(|(_, _, value)| *value)
}

/// A configuration file with every key at its default, commented out, below its documentation. The
/// tables that exist by default have active headers; the optional ones are commented out too.
pub fn commented_file() -> String {
    let mut text = String::from(
        "# Tercet configuration. Every key stands here with its default: remove the # before a key to\n\
         # change it. Flags and environment variables (TERCET_SECTION__KEY) take precedence over this file.\n\
         #\n\
         # Durations: \"500ms\", \"10s\", \"1h30m\", \"7d\". Sizes: \"64KiB\", \"8MiB\", or a number of bytes.\n\
         # Check with: tercet config check FILE      Run with: tercet serve --config FILE\n",
    );
    for table in tables::all() {
        text.push('\n');
        for line in table.doc {
            let _ = writeln!(text, "#{line}");
        }
        let header = tables::display(table.path);
        let _ = writeln!(text, "{}{header}", if table.optional { "#" } else { "" });
        for entry in &table.entries {
            commented_entry(&mut text, &table, entry);
        }
    }
    text
}

fn commented_entry(text: &mut String, table: &Described, entry: &Entry) {
    text.push('\n');
    for line in entry.doc {
        let _ = writeln!(text, "#{line}");
    }
    let _ = writeln!(text, "# ({}; reload: {})", type_and_bounds(entry), entry.apply);
    match example(table.path, &entry.key).or(entry.value.as_deref()) {
        Some(value) => writeln!(text, "#{} = {value}", entry.key),
        None => writeln!(text, "# {} is not set", entry.key),
    }
    .unwrap_or_default();
}

fn type_and_bounds(entry: &Entry) -> String {
    match &entry.bounds {
        Some(bounds) => format!("{}, {bounds}", entry.kind),
        None => entry.kind.clone(),
    }
}

/// The reference page: every key with type, default, environment variable, reload behaviour and meaning.
pub fn reference_page() -> String {
    let mut page = String::from(INTRODUCTION);
    for table in tables::all() {
        let _ = writeln!(page, "\n## `{}`\n\n{}\n", tables::display(table.path), joined(table.doc));
        page.push_str("| key | type | default | reload | meaning |\n|---|---|---|---|---|\n");
        for entry in &table.entries {
            let default = match (&entry.value, example(table.path, &entry.key)) {
                (_, Some(_)) => String::new(),
                (Some(value), None) => format!("`{value}`"),
                (None, None) => "not set".to_owned(),
            };
            let kind = type_and_bounds(entry).replace('|', "\\|");
            let _ = writeln!(
                page,
                "| `{}` | {kind} | {default} | {} | {} |",
                entry.key,
                entry.apply,
                joined(entry.doc).replace('|', "\\|")
            );
        }
    }
    let _ = write!(
        page,
        "\nEnvironment variables follow from the names: `limits.max-packet-size` is `{}`, the first\n\
         `[[listener]]` is `{}`, its certificate `{}`.\n",
        env_name("limits", "max-packet-size"),
        env_name("listener.0", "bind"),
        env_name("listener.0.tls", "cert"),
    );
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the schema in crates/server/src/config. Rewrite it with:
     UPDATE_DOCS=1 cargo test -p tercet-server configuration_page -->

Tercet runs without any configuration. What is set wins in this order: command line flag, environment
variable `TERCET_SECTION__KEY`, TOML file, default.

```sh
tercet config init            # write tercet.toml with every key, its meaning and its default
tercet config check           # report every mistake with file:line:column; exit code 78
tercet config show --origin   # the values in effect and where each was set
tercet serve --config tercet.toml
```

The file is named by `--config` or `TERCET_CONFIG`; without them `tercet.toml` in the working directory is used if
it exists. Unknown keys are mistakes. Relative paths are relative to
the working directory of the server. Lists in environment variables are separated by commas. `TERCET_LOG` and
`--log` take a level and levels of modules: `warn,mqtt=debug`.

Durations are written `\"500ms\"`, `\"10s\"`, `\"1h30m\"` or `\"7d\"`; sizes `\"64KiB\"`, `\"8MiB\"` or as a number of bytes
(`k`, `M`, `G` are powers of 1024; `kB`, `MB`, `GB` powers of 1000).

SIGHUP reads the configuration again. The column *reload* says what that changes: *yes*, at once; *new
connections*, for clients that connect afterwards; *restart*, nothing until the server is started again (the
log names such keys). A configuration with mistakes is reported and changes nothing.
";

fn joined(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, File, Sources, load};

    fn parse(text: String) -> Config {
        let file = Some(File { path: "init.toml".into(), text });
        load(&Sources { file, ..Sources::default() }).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    /// `#key = value` and `#[table]` without their `#`; prose has a space after it.
    fn uncomment<'a>(lines: impl Iterator<Item = &'a str>) -> String {
        let active = |line: &'a str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        };
        lines.map(active).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_file_as_written_changes_nothing() {
        assert_eq!(parse(commented_file()), Config::default());
    }

    #[test]
    fn the_file_with_every_key_active_is_the_default() {
        let file = commented_file();
        let always = file.lines().take_while(|line| *line != "#[tls]");
        assert_eq!(parse(uncomment(always)), Config::default());
    }

    #[test]
    fn the_optional_tables_are_valid_too() {
        let config = parse(uncomment(commented_file().lines().filter(|line| !line.starts_with("#mqtt = "))));
        let own = config.own_listeners();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].name, "field");
        assert!(own[0].tls.is_some() && own[0].redirect.is_some() && config.tls.is_some());
    }

    #[test]
    fn every_key_is_documented() {
        for table in tables::all() {
            assert!(!table.doc.is_empty(), "[{}]", table.path);
            for entry in table.entries {
                assert!(entry.doc.iter().any(|line| line.len() > 3), "{}.{}", table.path, entry.key);
            }
        }
    }

    #[test]
    fn configuration_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = reference_page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p tercet-server configuration_page"
        );
    }
}
