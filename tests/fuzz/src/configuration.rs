//! A configuration file: every mistake has words and a place in the file; what is read can be written and read again.

use tercet_server::config::load::{File, Sources, load};
use tercet_server::config::problem::Origin;
use tercet_server::config::show;

fn sources(text: &str) -> Sources {
    Sources { file: Some(File { path: "fuzz.toml".into(), text: text.to_owned() }), ..Sources::default() }
}

/// The body of the target.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match load(&sources(&text)) {
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            for problem in &errors.problems {
                assert!(
                    !problem.what.is_empty() && errors.line(problem).starts_with("fuzz.toml:"),
                    "{problem:?}"
                );
                if let Origin::File { line, column } = problem.origin {
                    assert!(line >= 1 && line <= text.split('\n').count() && column >= 1, "{problem:?}");
                }
            }
        }
        Ok(loaded) => {
            let shown = show::to_toml(&loaded, false);
            let again = load(&sources(&shown)).unwrap_or_else(|errors| panic!("{errors:?}\n{shown}"));
            assert_eq!(again.config, loaded.config, "{shown}");
            assert!(show::to_json(&loaded, true).is_object());
        }
    }
}
