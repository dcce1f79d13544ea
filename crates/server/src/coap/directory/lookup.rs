//! Which registrations and links a query is about (RFC 9176 §6).

use std::time::Instant;

use tercet_coap::link_format::{self, Filter, Link};

use super::registrations::{Place, Registrations};

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Links.
    Resources,
    /// Registrations.
    Endpoints,
}

/// A query: conditions that all have to hold, and which part of the result is wanted.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    /// One condition each: one may hold for a link, another for the endpoint that has it.
    conditions: Vec<Filter<'a>>,
    skip: usize,
    take: usize,
}

/// Most conditions of a query.
const MOST_CONDITIONS: usize = 8;

impl<'a> Lookup<'a> {
    /// Reads the arguments of a query; the error is for the diagnostic payload.
    pub(super) fn read(query: impl Iterator<Item = &'a [u8]>) -> Result<Self, &'static str> {
        let (mut page, mut count) = (None, None);
        let mut conditions = Vec::new();
        for argument in query {
            let argument = std::str::from_utf8(argument).map_err(|_| "the query is not UTF-8")?;
            let number = |value: &str| value.parse::<usize>().map_err(|_| "page and count are numbers");
            match argument.split_once('=') {
                Some(("page", value)) => page = Some(number(value)?),
                Some(("count", value)) => count = Some(number(value)?),
                _ if conditions.len() == MOST_CONDITIONS => return Err("too many conditions"),
                _ => conditions.push(Filter::new([argument])),
            }
        }
        let (skip, take) = match (page, count) {
            (Some(_), None) => return Err("page needs count"),
            (page, Some(count)) => (page.unwrap_or(0).saturating_mul(count), count),
            (None, None) => (0, usize::MAX),
        };
        Ok(Lookup { conditions, skip, take })
    }

    /// The links that were found, in the link format.
    pub(super) fn find(&self, wanted: Wanted, registrations: &mut Registrations, now: Instant) -> String {
        let mut text = String::new();
        let mut left = (self.skip, self.take);
        for (place, registration) in registrations.all(now) {
            let endpoint = registration.description(path_of(place));
            match wanted {
                Wanted::Endpoints => {
                    let fits = |condition: &Filter<'_>| {
                        condition.matches(&endpoint)
                            || registration.resolved().iter().any(|link| condition.matches(link))
                    };
                    if self.conditions.iter().all(fits) {
                        append(&endpoint, &mut left, &mut text);
                    }
                }
                Wanted::Resources => {
                    for link in registration.resolved() {
                        let fits =
                            |condition: &Filter<'_>| condition.matches(link) || condition.matches(&endpoint);
                        if self.conditions.iter().all(fits) {
                            append(link, &mut left, &mut text);
                        }
                    }
                }
            }
            if left.1 == 0 {
                break;
            }
        }
        text
    }
}

/// Writes a link, unless it is to be skipped or enough have been written.
fn append(link: &Link<'_>, (skip, take): &mut (usize, usize), text: &mut String) {
    if *skip > 0 {
        *skip -= 1;
    } else if *take > 0 {
        *take -= 1;
        if !text.is_empty() {
            text.push(',');
        }
        link_format::write([link], text);
    }
}

/// The path of a registration.
pub(super) fn path_of(place: Place) -> String {
    format!("/rd/{place}")
}
