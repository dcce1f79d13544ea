//! A PROXY protocol header: the same verdict however the bytes arrive.

use tercet_net::proxy_protocol::{Header, HeaderDecoder, Progress, ProxyError, Versions};

/// The header and how many bytes it took; `None` while more are needed.
type Verdict = Result<Option<(Header, usize)>, ProxyError>;

fn feed<'a>(versions: Versions, pieces: impl Iterator<Item = &'a [u8]>) -> Verdict {
    let mut decoder = HeaderDecoder::speaking(versions);
    let mut before = 0;
    for piece in pieces {
        if let Progress::Complete { header, used } = decoder.feed(piece)? {
            assert!(used <= piece.len());
            return Ok(Some((header, before + used)));
        }
        before += piece.len();
    }
    Ok(None)
}

/// The body of the target.
pub fn check(data: &[u8]) {
    for versions in [Versions::Both, Versions::V1, Versions::V2] {
        let whole = feed(versions, std::iter::once(data));
        assert_eq!(feed(versions, data.chunks(1)), whole);
        assert_eq!(feed(versions, crate::pieces(data)), whole);
        if let Ok(Some((header, used))) = whole {
            let exact = feed(versions, std::iter::once(&data[..used]));
            assert_eq!(exact, Ok(Some((header, used))));
            assert_eq!(feed(versions, std::iter::once(&data[..used - 1])), Ok(None));
        }
    }
}
