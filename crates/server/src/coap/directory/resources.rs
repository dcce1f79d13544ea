//! `/rd` and `/rd-lookup`.

use std::time::Instant;

use tercet_coap::link_format::{self, Link};
use tercet_coap::{Code, ContentFormat, Number};

use super::Directory;
use super::lookup::{Lookup, Wanted};
use super::parameters::Parameters;
use super::registration::Name;
use super::registrations::{Place, Refusal};
use crate::coap::request::Request;
use crate::coap::response::{Body, Response};

/// Most links of one registration.
const MOST_LINKS: usize = 256;
/// Seconds until one may try again who found the directory full.
const RETRY_AFTER: u32 = 60;

/// Whether a path leads into the directory.
pub fn is_for(path: &[&[u8]]) -> bool {
    matches!(path, [b"rd"] | [b"rd", _] | [b"rd-lookup", b"res" | b"ep"])
}

/// Answers a request for a path [of the directory](is_for).
pub fn serve(directory: &Directory, path: &[&[u8]], request: &Request<'_>, now: Instant) -> Response {
    let answer = match path {
        [b"rd"] => match request.code {
            Code::POST => register(directory, request, now),
            _ => Err(Response::new(Code::METHOD_NOT_ALLOWED)),
        },
        [b"rd", place] => at_place(directory, place, request, now),
        [b"rd-lookup", what] => match request.code {
            Code::GET => look_up(
                directory,
                if *what == b"ep" { Wanted::Endpoints } else { Wanted::Resources },
                request,
                now,
            ),
            _ => Err(Response::new(Code::METHOD_NOT_ALLOWED)),
        },
        _ => Err(Response::new(Code::NOT_FOUND)),
    };
    answer.unwrap_or_else(|refused| refused)
}

fn register(directory: &Directory, request: &Request<'_>, now: Instant) -> Result<Response, Response> {
    let mut parameters = Parameters::read(request.query()).map_err(bad_request)?;
    let links = links_of(request)?;
    // A device that has shown who it is need not say it again (RFC 9176 §5).
    let proven = || request.caller.identity.name().map(|name| name.to_string());
    let endpoint = parameters.name.take().or_else(proven).ok_or_else(|| bad_request("ep is missing"))?;
    let name = Name { endpoint, sector: parameters.sector.take() };
    let place = directory.0.lock().register(name, request.caller, parameters, links, now).map_err(refused)?;
    Ok(Response { location: vec!["rd".to_owned(), place.to_string()], ..Response::new(Code::CREATED) })
}

fn at_place(
    directory: &Directory,
    place: &[u8],
    request: &Request<'_>,
    now: Instant,
) -> Result<Response, Response> {
    let not_found = || Response::new(Code::NOT_FOUND);
    let place: Place =
        std::str::from_utf8(place).ok().and_then(|text| text.parse().ok()).ok_or_else(not_found)?;
    match request.code {
        Code::GET => {
            accepts_links(request)?;
            let mut registrations = directory.0.lock();
            let registration = registrations.get(place, now).ok_or_else(not_found)?;
            let mut text = String::new();
            link_format::write(registration.links(), &mut text);
            Ok(Response::content(ContentFormat::LINK_FORMAT, text))
        }
        Code::POST => {
            let parameters = Parameters::read(request.query()).map_err(bad_request)?;
            if parameters.name.is_some() || parameters.sector.is_some() {
                return Err(bad_request("ep and d of a registration do not change"));
            }
            if !request.payload.is_empty() {
                return Err(bad_request("links are replaced by registering again"));
            }
            directory.0.lock().renew(place, request.caller, parameters, now).map_err(refused)?;
            Ok(Response::new(Code::CHANGED))
        }
        Code::DELETE => {
            directory.0.lock().deregister(place, request.caller, now).map_err(refused)?;
            Ok(Response::new(Code::DELETED))
        }
        _ => Err(Response::new(Code::METHOD_NOT_ALLOWED)),
    }
}

fn look_up(
    directory: &Directory,
    wanted: Wanted,
    request: &Request<'_>,
    now: Instant,
) -> Result<Response, Response> {
    accepts_links(request)?;
    let lookup = Lookup::read(request.query()).map_err(bad_request)?;
    let text = lookup.find(wanted, &mut directory.0.lock(), now);
    Ok(Response::content(ContentFormat::LINK_FORMAT, text))
}

/// The links in the payload.
fn links_of(request: &Request<'_>) -> Result<Vec<Link<'static>>, Response> {
    let format = request.options.uint(Number::CONTENT_FORMAT);
    if format.is_some_and(|format| format != u32::from(ContentFormat::LINK_FORMAT.0)) {
        return Err(Response::diagnostic(
            Code::UNSUPPORTED_CONTENT_FORMAT,
            "links are in application/link-format",
        ));
    }
    let text = std::str::from_utf8(request.payload).map_err(|_| bad_request("the links are not UTF-8"))?;
    let links = link_format::parse(text)
        .map_err(|error| Response::diagnostic(Code::BAD_REQUEST, error.to_string()))?;
    if links.len() > MOST_LINKS {
        return Err(Response::diagnostic(Code::REQUEST_ENTITY_TOO_LARGE, "too many links"));
    }
    Ok(links.into_iter().map(Link::into_owned).collect())
}

fn accepts_links(request: &Request<'_>) -> Result<(), Response> {
    let accepted = request.options.uint(Number::ACCEPT);
    if accepted.is_some_and(|format| format != u32::from(ContentFormat::LINK_FORMAT.0)) {
        return Err(Response::new(Code::NOT_ACCEPTABLE));
    }
    Ok(())
}

fn bad_request(reason: &'static str) -> Response {
    Response::diagnostic(Code::BAD_REQUEST, reason)
}

fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Unknown => Response::new(Code::NOT_FOUND),
        Refusal::NotYours => {
            Response::diagnostic(Code::FORBIDDEN, "the registration belongs to somebody else")
        }
        Refusal::Full => Response {
            body: Body::Text("the directory is full".into()),
            ..Response::new(Code::SERVICE_UNAVAILABLE).fresh_for(RETRY_AFTER)
        },
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
