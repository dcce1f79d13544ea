//! `[log]`: what is logged and how.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::choice::{Level, LogFormat};
use super::schema::section;
use super::setting::{Fault, Setting, TomlValue, quote};

section! {
    /// What is logged and how. Log lines go to stderr, written by a thread of their own.
    Log, "log" {
        /// Least important lines written.
        level: Level = Level::Info => Live;
        /// Levels of single modules, such as { mqtt = "debug", auth = "trace" }. A module is a part of
        /// the server (mqtt, http, auth, reactor ...) or a full path such as "tercet_server::mqtt".
        modules: ModuleLevels = ModuleLevels::default() => Live;
        /// How lines are written.
        format: LogFormat = LogFormat::Auto => Restart;
        /// A line for each connect and disconnect, with the reason.
        connections: bool = true => Live;
    }
}

impl Log {
    /// Applies a filter as `TERCET_LOG` and `--log` write it: `info`, `mqtt=debug` or `warn,mqtt=debug`.
    ///
    /// # Errors
    /// A part that is neither a level nor `module=level`; nothing is changed then.
    pub fn set_filter(&mut self, filter: &str) -> Result<(), Fault> {
        let (modules, levels): (Vec<_>, Vec<_>) = filter
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .partition(|part| part.contains('='));
        let modules = ModuleLevels::from_text(&modules.join(","))?;
        let level = match levels.as_slice() {
            [] => self.level,
            [level] => Level::from_text(level)?,
            [_, second, ..] => {
                let fault = Fault::new(format!("a second level {} in {}", quote(second), quote(filter)));
                return Err(fault.hint("write one level and then module=level: \"warn,mqtt=debug\""));
            }
        };
        self.level = level;
        self.modules.0.extend(modules.0);
        Ok(())
    }
}

/// Levels by module name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleLevels(pub BTreeMap<String, Level>);

impl ModuleLevels {
    fn insert(&mut self, module: &str, level: Level) -> Result<(), Fault> {
        let path = !module.is_empty()
            && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'));
        if !path {
            return Err(Fault::new(format!("{} is not the name of a module", quote(module))));
        }
        self.0.insert(module.to_owned(), level);
        Ok(())
    }
}

impl Setting for ModuleLevels {
    fn kind() -> String {
        "a table of modules and levels".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((module, level)) = part.split_once('=') else {
                return Err(Fault::new(format!("expected module=level, found {}", quote(part))));
            };
            levels.insert(module.trim(), Level::from_text(level.trim())?)?;
        }
        Ok(levels)
    }

    fn from_toml(value: &TomlValue<'_>) -> Result<Self, Fault> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(Fault::wrong_type(&Self::kind(), value.get_ref()).hint("write { mqtt = \"debug\" }"));
        };
        let mut levels = Self::default();
        for (module, level) in table {
            let at = |mut fault: Fault, span| {
                fault.span.get_or_insert(span);
                fault
            };
            let parsed = Level::from_toml(level).map_err(|fault| at(fault, level.span()))?;
            levels.insert(module.get_ref(), parsed).map_err(|fault| at(fault, module.span()))?;
        }
        Ok(levels)
    }

    fn to_toml(&self) -> Option<String> {
        let items: Vec<_> = self
            .0
            .iter()
            .map(|(module, level)| format!("{} = {}", quote(module), quote(level.word())))
            .collect();
        Some(if items.is_empty() { "{}".into() } else { format!("{{ {} }}", items.join(", ")) })
    }
}
