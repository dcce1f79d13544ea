//! Long lists, a page at a time: `limit`, `after` and `name` in the query.

use serde_json::{Value, json};

use super::path::Target;
use super::problem::Problem;

/// Items of a page unless the request says otherwise.
const PAGE: usize = 500;
/// Most items of a page.
const MAX_PAGE: usize = 5000;

/// Which part of a list is asked for.
pub(super) struct Page {
    limit: usize,
    after: Option<String>,
    name: Option<String>,
}

impl Page {
    /// Reads it from the query.
    pub(super) fn of(target: &Target) -> Result<Self, Problem> {
        let limit = target.number("limit")?.map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(MAX_PAGE));
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Problem::bad_request("limit is out of range", format!("between 1 and {MAX_PAGE}")));
        }
        let text = |name| target.parameter(name).map(str::to_owned);
        Ok(Self { limit, after: text("after"), name: text("name") })
    }

    /// Cuts the page out of a list that is sorted by `key`, and shows its items alone. A key that contains `name` is
    /// kept; that is no pattern, so that nobody can make the search slow (CVE-2026-66074).
    pub(super) fn cut<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
        show: impl Fn(&T) -> Value,
    ) -> Value {
        let mut shown = Vec::new();
        let (mut last, mut next, mut total) = (None, None, 0_usize);
        for item in items {
            let name = key(&item);
            if self.name.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
                continue;
            }
            total += 1;
            if self.after.as_ref().is_some_and(|after| name <= *after) {
                continue;
            }
            if shown.len() < self.limit {
                shown.push(show(&item));
                last = Some(name);
            } else if next.is_none() {
                next.clone_from(&last);
            }
        }
        json!({ "items": shown, "total": total, "next": next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Value, Problem> {
        let target = Target::parse(&format!("/api/v1/x?{query}").parse().unwrap())?;
        let names = ["a", "ab", "b", "bc", "c"];
        Ok(Page::of(&target)?.cut(names, |name| (*name).to_owned(), |name| json!(name)))
    }

    #[test]
    fn pages_follow_one_another() {
        let cases = [
            ("", json!({"items": ["a", "ab", "b", "bc", "c"], "total": 5, "next": null})),
            ("limit=2", json!({"items": ["a", "ab"], "total": 5, "next": "ab"})),
            ("limit=2&after=ab", json!({"items": ["b", "bc"], "total": 5, "next": "bc"})),
            ("limit=2&after=bc", json!({"items": ["c"], "total": 5, "next": null})),
            ("limit=5", json!({"items": ["a", "ab", "b", "bc", "c"], "total": 5, "next": null})),
            ("name=b&limit=2", json!({"items": ["ab", "b"], "total": 3, "next": "b"})),
            ("name=.*", json!({"items": [], "total": 0, "next": null})),
        ];
        for (query, expected) in cases {
            assert_eq!(page(query).unwrap(), expected, "{query}");
        }
        for query in ["limit=0", "limit=5001", "limit=x", "limit=-1"] {
            assert!(page(query).is_err(), "{query}");
        }
    }
}
