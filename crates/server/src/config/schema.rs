//! The shape of the schema: sections made of fields, each field with its documentation, type, default,
//! bounds and reload behaviour.
//!
//! [`section!`] declares a section once and generates the struct, its `Default` and its field table.

use std::fmt;

use super::setting::{Fault, TomlValue};

/// When a changed value takes effect after a reload (SIGHUP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// At once, for connected clients too.
    Live,
    /// For connections accepted after the reload.
    NewConnections,
    /// Only after a restart; a reload that changes it says so and keeps the old value.
    Restart,
}

impl fmt::Display for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "yes",
            Self::NewConnections => "new connections",
            Self::Restart => "restart",
        })
    }
}

/// One key of section `S`.
pub struct Field<S: 'static> {
    /// Name of the struct field (`max_packet_size`).
    pub ident: &'static str,
    /// Documentation, one entry per line.
    pub doc: &'static [&'static str],
    /// When a reload applies it.
    pub apply: Apply,
    /// Human name of the type ("duration", "\"a\" or \"b\"").
    pub kind: fn() -> String,
    /// Bounds in words, when narrower than the type.
    pub bounds: fn() -> Option<String>,
    /// Current value as a TOML literal; `None` when unset.
    pub get: fn(&S) -> Option<String>,
    /// Sets it from a TOML value.
    pub set_toml: fn(&mut S, &TomlValue<'_>) -> Result<(), Fault>,
    /// Sets it from the text of an environment variable or flag.
    pub set_text: fn(&mut S, &str) -> Result<(), Fault>,
    /// Takes it from another section.
    pub copy: fn(&mut S, &S),
}

impl<S> Field<S> {
    /// The key as written in the file (`max-packet-size`).
    pub fn key(&self) -> String {
        kebab(self.ident)
    }
}

/// A table of the configuration file.
pub trait Section: Clone + Default + PartialEq + 'static {
    /// Name of the table in the file (`limits`, `listener.tls`).
    const PATH: &'static str;
    /// Documentation, one entry per line.
    const DOC: &'static [&'static str];
    /// Its keys, in the order of the documentation.
    fn fields() -> &'static [Field<Self>];

    /// Takes back from `old` what only a restart can change; the keys that differed.
    fn keep_restart_values(&mut self, old: &Self) -> Vec<String> {
        let mut kept = Vec::new();
        for field in Self::fields().iter().filter(|field| field.apply == Apply::Restart) {
            if (field.get)(self) != (field.get)(old) {
                (field.copy)(self, old);
                kept.push(field.key());
            }
        }
        kept
    }

    /// The field that the file calls `key`.
    fn field(key: &str) -> Option<&'static Field<Self>> {
        Self::fields().iter().find(|field| field.key() == key)
    }
}

/// Where a value comes from, before it is parsed.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A value of the file.
    Toml(&'a TomlValue<'a>),
    /// The text of an environment variable or flag.
    Text(&'a str),
}

/// One key of a section with its current value, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key as written in the file.
    pub key: String,
    /// Documentation, one entry per line.
    pub doc: &'static [&'static str],
    /// Human name of the type.
    pub kind: String,
    /// Bounds in words, when narrower than the type.
    pub bounds: Option<String>,
    /// When a reload applies it.
    pub apply: Apply,
    /// The value as a TOML literal; `None` when unset.
    pub value: Option<String>,
}

/// A section whose type is forgotten: what the loader and the printers work with.
pub trait Table {
    /// Sets `key`; `None` when the section has no such key.
    fn set(&mut self, key: &str, input: Input<'_>) -> Option<Result<(), Fault>>;

    /// Every key with its current value.
    fn entries(&self) -> Vec<Entry>;
}

impl<S: Section> Table for S {
    fn set(&mut self, key: &str, input: Input<'_>) -> Option<Result<(), Fault>> {
        let field = S::field(key)?;
        Some(match input {
            Input::Toml(value) => (field.set_toml)(self, value),
            Input::Text(text) => (field.set_text)(self, text),
        })
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |field: &Field<S>| Entry {
            key: field.key(),
            doc: field.doc,
            kind: (field.kind)(),
            bounds: (field.bounds)(),
            apply: field.apply,
            value: (field.get)(self),
        };
        S::fields().iter().map(entry).collect()
    }
}

/// `max_packet_size` to `max-packet-size`.
pub fn kebab(ident: &str) -> String {
    ident.replace('_', "-")
}

/// Environment variable of `key` in the table at `path`: `TERCET_LIMITS__MAX_PACKET_SIZE`.
pub fn env_name(path: &str, key: &str) -> String {
    let upper = |s: &str| s.replace('-', "_").to_ascii_uppercase();
    let tables: Vec<_> = path.split('.').map(upper).collect();
    format!("TERCET_{}__{}", tables.join("__"), upper(key))
}

/// Declares a section: `Name, "path" { /// doc  field: Type = default => Apply; ... }`, optionally
/// `=> Apply, in low..=high;` for bounds, and nested tables after `tables`.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])*
        $name:ident, $path:literal {
            $(
                $(#[doc = $doc:literal])*
                $field:ident : $ty:ty = $default:expr => $apply:ident $(, in $range:expr)? ;
            )*
        }
        $( tables { $( $(#[doc = $table_doc:literal])* $table:ident : $table_ty:ty; )* } )?
    ) => {
        $(#[doc = $section_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $ty, )*
            $( $( $(#[doc = $table_doc])* pub $table: Option<$table_ty>, )* )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* $( $( $table: None, )* )? }
            }
        }

        impl $crate::config::schema::Section for $name {
            const PATH: &'static str = $path;
            const DOC: &'static [&'static str] = &[$($section_doc),*];

            fn fields() -> &'static [$crate::config::schema::Field<Self>] {
                static FIELDS: &[$crate::config::schema::Field<$name>] = &[$(
                    $crate::config::schema::Field {
                        ident: stringify!($field),
                        doc: &[$($doc),*],
                        apply: $crate::config::schema::Apply::$apply,
                        kind: <$ty as $crate::config::setting::Setting>::kind,
                        bounds: || {
                            [$($crate::config::setting::describe_range::<$ty>(&$range))?].into_iter().next()
                        },
                        get: |section| <$ty as $crate::config::setting::Setting>::to_toml(&section.$field),
                        set_toml: |section, value| {
                            let parsed = <$ty as $crate::config::setting::Setting>::from_toml(value)?;
                            $( $crate::config::setting::check_range(&parsed, &$range)?; )?
                            section.$field = parsed;
                            Ok(())
                        },
                        set_text: |section, text| {
                            let parsed = <$ty as $crate::config::setting::Setting>::from_text(text)?;
                            $( $crate::config::setting::check_range(&parsed, &$range)?; )?
                            section.$field = parsed;
                            Ok(())
                        },
                        copy: |section, from| section.$field = from.$field.clone(),
                    },
                )*];
                FIELDS
            }
        }
    };
}
pub(crate) use section;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names_follow_the_path() {
        assert_eq!(env_name("limits", "max-packet-size"), "TERCET_LIMITS__MAX_PACKET_SIZE");
        assert_eq!(env_name("listener.0.tls", "cert"), "TERCET_LISTENER__0__TLS__CERT");
    }
}
