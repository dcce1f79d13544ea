//! What the options of a request say to resources, read in one pass.

use smallvec::SmallVec;
use tercet_broker::message::Qos;
use tercet_coap::{Code, ContentFormat, Number};

use super::super::request::Request;
use super::super::response::Response;

/// What a request says by its options.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked<'a> {
    /// Segments of the path.
    pub path: SmallVec<[&'a [u8]; 8]>,
    /// The arguments of the query.
    pub query: Query<'a>,
    /// The format in which the answer is wanted.
    pub accept: Option<ContentFormat>,
    /// The format of the payload.
    pub content_format: Option<ContentFormat>,
    /// Seconds for which what is published holds.
    pub max_age: Option<u32>,
    /// The client has representations already, and asks whether one of them is current.
    pub has_etags: bool,
    /// The request is conditional: If-Match or If-None-Match.
    pub is_conditional: bool,
}

/// The arguments of a query that resources know; others are left to them as they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Query<'a> {
    /// All arguments.
    pub all: SmallVec<[&'a str; 2]>,
    /// `qos`, `q`: the guarantee of a publication, instead of the kind of the message. 2 counts as 1: the message layer lets
    /// through once what is sent once.
    pub qos: Option<Qos>,
    /// `retain`, `r`: whether it becomes the topic's value, instead of what the method says.
    pub retain: Option<bool>,
    /// `expiry`: seconds after which it expires.
    pub expiry: Option<u32>,
    /// `clientid`, `c`.
    pub client_id: Option<&'a str>,
    /// `username`, `u`.
    pub user: Option<&'a str>,
    /// `password`, `p`.
    pub password: Option<&'a str>,
    /// `token`, `t`: of a connection.
    pub token: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Reads the options.
    ///
    /// # Errors
    /// 4.00 for an argument whose value is none that it can have.
    pub(super) fn of(request: &Request<'a>) -> Result<Self, Response> {
        let mut asked = Self::default();
        for (number, value) in request.options.iter() {
            match number {
                Number::URI_PATH => asked.path.push(value),
                Number::URI_QUERY => asked.query.add(value)?,
                Number::ACCEPT => asked.accept = format(value),
                Number::CONTENT_FORMAT => asked.content_format = format(value),
                Number::MAX_AGE => asked.max_age = request.options.uint(Number::MAX_AGE),
                Number::ETAG => asked.has_etags = true,
                Number::IF_MATCH | Number::IF_NONE_MATCH => asked.is_conditional = true,
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// The format that an option of up to two bytes names.
fn format(value: &[u8]) -> Option<ContentFormat> {
    match *value {
        [] => Some(ContentFormat(0)),
        [low] => Some(ContentFormat(u16::from(low))),
        [high, low] => Some(ContentFormat(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

impl<'a> Query<'a> {
    fn add(&mut self, argument: &'a [u8]) -> Result<(), Response> {
        let Ok(argument) = std::str::from_utf8(argument) else {
            return Err(Response::diagnostic(Code::BAD_REQUEST, "the query is not UTF-8"));
        };
        self.all.push(argument);
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "qos" | "q" => self.qos = Some(qos(value)?),
            "retain" | "r" => self.retain = Some(flag(value)?),
            "expiry" => self.expiry = Some(seconds(value)?),
            "clientid" | "c" => self.client_id = Some(value),
            "username" | "u" => self.user = Some(value),
            "password" | "p" => self.password = Some(value),
            "token" | "t" => self.token = Some(value),
            _ => {}
        }
        Ok(())
    }
}

fn qos(value: &str) -> Result<Qos, Response> {
    match value {
        "0" => Ok(Qos::AtMostOnce),
        "1" | "2" => Ok(Qos::AtLeastOnce),
        _ => Err(Response::diagnostic(Code::BAD_REQUEST, "qos is 0, 1 or 2")),
    }
}

fn flag(value: &str) -> Result<bool, Response> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Response::diagnostic(Code::BAD_REQUEST, "retain is true or false")),
    }
}

fn seconds(value: &str) -> Result<u32, Response> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.parse().ok().filter(|_| digits);
    seconds.ok_or_else(|| Response::diagnostic(Code::BAD_REQUEST, "expiry is a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_by_both_of_their_names() {
        let mut query = Query::default();
        for argument in ["qos=2", "r=true", "expiry=60", "c=dev", "u=ann", "p=a=b", "t=7", "rt=core.ps", "x"]
        {
            query.add(argument.as_bytes()).unwrap();
        }
        assert_eq!(query.qos, Some(Qos::AtLeastOnce));
        assert_eq!((query.retain, query.expiry), (Some(true), Some(60)));
        assert_eq!((query.client_id, query.user, query.password), (Some("dev"), Some("ann"), Some("a=b")));
        assert_eq!((query.token, query.all.len()), (Some("7"), 9));
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        for argument in
            [&b"qos=3"[..], b"qos=", b"retain=yes", b"expiry=-1", b"expiry=+5", b"expiry=5000000000", b"\xff"]
        {
            let refused = Query::default().add(argument).unwrap_err();
            assert_eq!(refused.code, Code::BAD_REQUEST, "{argument:?}");
        }
    }
}
