//! What handlers take out of a request.

use std::str::FromStr;

use bytes::Bytes;
use tercet_coap::Code;
use tercet_coap::content_format::ContentFormat;

use super::reply::Reply;
use super::request::{Peer, Request};

/// Something that can be taken out of a request.
pub trait FromRequest<S>: Sized {
    /// Takes it.
    ///
    /// # Errors
    /// The answer to a request that does not have it.
    fn from_request(request: &Request, state: &S) -> Result<Self, Reply>;
}

impl<S> FromRequest<S> for Request {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        Ok(request.clone())
    }
}

/// The server's state, as given to [`Router::with_state`](super::Router::with_state).
#[derive(Debug, Clone, Copy)]
pub struct State<S>(pub S);

impl<S: Clone> FromRequest<S> for State<S> {
    fn from_request(_: &Request, state: &S) -> Result<Self, Reply> {
        Ok(Self(state.clone()))
    }
}

/// The parameters of the route, in order: one value, or a tuple of up to four. Values that do not parse are answered
/// with 4.04: there is no such resource.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S, T: FromParameters> FromRequest<S> for Path<T> {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        let values: Vec<_> = request.parameters().map(|(_, value)| value).collect();
        T::from_parameters(&values).map(Path).ok_or_else(|| Reply::new().code(Code::NOT_FOUND))
    }
}

/// What [`Path`] can hold.
pub trait FromParameters: Sized {
    /// Understands the parameters; `None` if one is missing or does not parse.
    fn from_parameters(values: &[&str]) -> Option<Self>;
}

macro_rules! parameter {
    ($($type:ty),*) => {
        $(impl FromParameters for $type {
            fn from_parameters(values: &[&str]) -> Option<Self> {
                values.first()?.parse().ok()
            }
        })*
    };
}

parameter!(String, bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

macro_rules! parameters {
    ($($name:ident $index:literal),*) => {
        impl<$($name: FromStr),*> FromParameters for ($($name,)*) {
            fn from_parameters(values: &[&str]) -> Option<Self> {
                Some(($(values.get($index)?.parse::<$name>().ok()?,)*))
            }
        }
    };
}

parameters!(T0 0, T1 1);
parameters!(T0 0, T1 1, T2 2);
parameters!(T0 0, T1 1, T2 2, T3 3);

/// The query: the Uri-Query options in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(pub Vec<String>);

impl Query {
    /// The value of the first `name=value`; empty for a bare `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|part| {
            let (found, value) = part.split_once('=').unwrap_or((part, ""));
            (found == name).then_some(value)
        })
    }
}

impl<S> FromRequest<S> for Query {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        Ok(Self(request.query().map(str::to_owned).collect()))
    }
}

/// The whole body.
impl<S> FromRequest<S> for Bytes {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        Ok(request.payload().clone())
    }
}

/// The whole body as text; one that is not UTF-8 is answered with 4.00.
impl<S> FromRequest<S> for String {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        let text = std::str::from_utf8(request.payload());
        text.map(str::to_owned).map_err(|_| Reply::error(Code::BAD_REQUEST, "the payload is not UTF-8"))
    }
}

/// The format of the body; a request that does not name it is answered with 4.15.
impl<S> FromRequest<S> for ContentFormat {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        let missing = || Reply::error(Code::UNSUPPORTED_CONTENT_FORMAT, "name the Content-Format");
        request.content_format().ok_or_else(missing)
    }
}

/// The format that the client wants, if it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept(pub Option<ContentFormat>);

impl<S> FromRequest<S> for Accept {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        Ok(Self(request.accept()))
    }
}

impl<S> FromRequest<S> for Peer {
    fn from_request(request: &Request, _: &S) -> Result<Self, Reply> {
        Ok(request.peer().clone())
    }
}
