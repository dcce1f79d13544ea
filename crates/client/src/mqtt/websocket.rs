//! A WebSocket (RFC 6455) as a stream of bytes over another stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tercet_net::websocket::{ClientHandshake, Codec, Limits, Outcome, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Most application bytes in one frame.
const FRAME: usize = 64 * 1024;

/// Shakes hands and wraps the stream.
///
/// # Errors
/// What the server answered instead of agreeing.
pub(super) async fn connect<S>(mut inner: S, host: &str, path: &str) -> Result<WebSocket<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = ClientHandshake::new(host, path, "mqtt", &[]).map_err(|error| error.to_string())?;
    inner.write_all(handshake.request()).await.map_err(|error| error.to_string())?;
    inner.flush().await.map_err(|error| error.to_string())?;
    let mut received = Vec::with_capacity(1024);
    let established = loop {
        let n = inner.read_buf(&mut received).await.map_err(|error| error.to_string())?;
        if let Some(established) = handshake.response(&received).map_err(|error| error.to_string())? {
            break established;
        }
        if n == 0 {
            return Err("the connection was closed during the handshake".into());
        }
    };
    let early = received.split_off(established.response_length.min(received.len()));
    Ok(WebSocket {
        inner,
        codec: Codec::new(Role::Client, Limits::default()),
        early,
        out: Vec::new(),
        written: 0,
    })
}

/// A stream of bytes in binary frames.
pub(super) struct WebSocket<S> {
    inner: S,
    codec: Codec,
    /// Frames that came with the handshake.
    early: Vec<u8>,
    /// Framed bytes to write, and how many of them are written.
    out: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Writes what is framed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Frames the answers that pings and close frames ask for and tries to send them.
    fn answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut any = false;
        while self.codec.next_control(&mut self.out)? {
            any = true;
        }
        if any {
            // Whatever cannot go out now goes with the next write.
            if let Poll::Ready(result) = self.poll_drain(cx) {
                result?;
            }
            if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_flush(cx) {
                result?;
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let start = buf.filled().len();
            if this.early.is_empty() {
                ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            } else {
                let n = this.early.len().min(buf.remaining());
                buf.put_slice(this.early.get(..n).unwrap_or(&[]));
                this.early.drain(..n);
            }
            let raw = buf.filled_mut().get_mut(start..).unwrap_or(&mut []);
            if raw.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let decoded = this.codec.decode(raw);
            buf.set_filled(start + decoded.len);
            this.answer(cx)?;
            match decoded.outcome {
                Outcome::Failed(error) => return Poll::Ready(Err(io::Error::other(error))),
                // Bytes first; the end shows at the next read.
                _ if decoded.len > 0 => return Poll::Ready(Ok(())),
                Outcome::Open => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let now = bytes.get(..FRAME).unwrap_or(bytes);
        this.codec.encode(now, &mut this.out)?;
        if let Poll::Ready(result) = this.poll_drain(cx) {
            result?;
        }
        Poll::Ready(Ok(now.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.codec.is_closing() {
            this.codec.close(tercet_net::websocket::CloseCode::NORMAL);
            while this.codec.next_control(&mut this.out)? {}
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}
