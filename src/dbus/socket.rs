//! Both ends of the daemon's socket.
//!
//! zbus has one for Unix streams. At the daemon's end it asks NSS for the groups of every client that connects: nothing here
//! needs them, and the question can take as long as a directory server does that is not there. At the client's end it
//! waits for the answer to the greeting before the first call goes out, and for a search that wait is a tenth of its time;
//! nothing in the call depends on the answer (D-Bus specification, "Authentication protocol").

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::fdo::ConnectionCredentials;

/// The longest message taken from a client, in bytes: all bounds of the interface together stay below it.
const MAX_MESSAGE: usize = 4 << 20;

/// A client that takes nothing for so long has lost interest; its answers would pile up here.
const STALLED: Duration = Duration::from_secs(30);

/// How long the daemon may take to answer the greeting; systemd may have to start it first.
pub(super) const GREETING_WAIT: Duration = Duration::from_secs(30);

/// Bytes of the answer to the greeting: `OK`, 32 digits and `AGREE_UNIX_FD`, with what separates them.
const ANSWER: usize = 52;

/// Longest line of the answer, bytes, and how much of one is shown.
const MAX_GREETING: usize = 512;
const MAX_SHOWN: usize = 80;

/// The most descriptors taken with one read: what the kernel passes at once (`SCM_MAX_FD`).
const MAX_DESCRIPTORS: usize = 253;

/// Reads from the peer.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<UnixStream>,
    /// User of the peer, as the kernel has it.
    uid: u32,
    /// Longest message.
    most: usize,
    /// The peer's answer to the greeting is still to come.
    ungreeted: bool,
}

/// Writes to the peer.
#[derive(Debug)]
pub struct Writer {
    stream: Arc<UnixStream>,
    /// What goes out before the first message.
    before: Vec<u8>,
}

/// A socket that leads to the peer.
#[derive(Debug)]
pub struct Stream {
    stream: UnixStream,
    uid: u32,
    most: usize,
    greets: bool,
}

/// Why the peer is no daemon of ours, or one that does not take us.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NoGreeting(String);

impl Stream {
    /// The daemon's end: a client that runs as `uid`.
    ///
    /// # Errors
    /// When the stream cannot be made non-blocking or registered with the runtime.
    pub fn to_client(stream: StdStream, uid: u32) -> io::Result<Self> {
        Self::new(stream, uid, MAX_MESSAGE, false)
    }

    /// The client's end, for [`zbus::connection::Builder::authenticated_socket`]: the greeting goes out with the first
    /// message. When the daemon does not answer it as it should, reading fails with [`NoGreeting`].
    ///
    /// # Errors
    /// As [`Stream::to_client`].
    pub fn to_daemon(stream: StdStream) -> io::Result<Self> {
        Self::new(stream, geteuid().as_raw(), usize::MAX, true)
    }

    fn new(stream: StdStream, uid: u32, most: usize, greets: bool) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, uid, most, greets })
    }
}

impl Socket for Stream {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let Self { stream, uid, most, greets } = self;
        let stream = Arc::new(stream);
        let before = if greets { greeting(uid) } else { Vec::new() };
        Split::new(Reader { stream: Arc::clone(&stream), uid, most, ungreeted: greets }, Writer { stream, before })
    }
}

/// What a client says before its first message: who it is, that descriptors may be passed, and that this was all.
fn greeting(uid: u32) -> Vec<u8> {
    let identity: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    format!("\0AUTH EXTERNAL {identity}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").into_bytes()
}

impl Reader {
    /// Takes the answer to the greeting and not a byte more: descriptors come with the bytes that they were sent with, and
    /// would be taken for the first message's.
    async fn greeted(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let mut more = [0; ANSWER];
            // Of an answer that is longer than they are the rest is read bytewise.
            let left = ANSWER.saturating_sub(bytes.len()).max(1);
            let more = more.get_mut(..left).unwrap_or_default();
            let (read, _) = self.stream.async_io(Interest::READABLE, || receive(self.stream.as_fd(), more)).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(more.get(..read).unwrap_or_default());
            match answer(&bytes).map_err(io::Error::other)? {
                None => {}
                Some(length) if length == bytes.len() => return Ok(()),
                Some(_) => return Err(io::Error::other(NoGreeting("what answers is no D-Bus".to_owned()))),
            }
        }
    }
}

/// The length of the peer's answer to the greeting; `None` while more of it is to come.
fn answer(bytes: &[u8]) -> Result<Option<usize>, NoGreeting> {
    let mut length = 0;
    for wanted in ["OK ", "AGREE_UNIX_FD"] {
        let rest = bytes.get(length..).unwrap_or_default();
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            if rest.len() < MAX_GREETING {
                return Ok(None);
            }
            return Err(NoGreeting("what answers is no D-Bus".to_owned()));
        };
        let line = rest.get(..end).unwrap_or_default();
        if !line.starts_with(wanted.as_bytes()) {
            let line = String::from_utf8_lossy(line);
            return Err(NoGreeting(format!("it answers {:?}", line.chars().take(MAX_SHOWN).collect::<String>())));
        }
        length += end + 2;
    }
    Ok(Some(length))
}

#[async_trait::async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        // While a message arrives, zbus reads into the rest of it: the length of that is what the peer announced.
        if buffer.len() > self.most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer announced too long a message"));
        }
        if self.ungreeted {
            let late = || NoGreeting(format!("no greeting within {} s", GREETING_WAIT.as_secs()));
            timeout(GREETING_WAIT, self.greeted()).await.map_err(|_| io::Error::other(late()))??;
            self.ungreeted = false;
        }
        self.stream.async_io(Interest::READABLE, || receive(self.stream.as_fd(), buffer)).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        Ok(ConnectionCredentials::default().set_unix_user_id(self.uid))
    }
}

#[async_trait::async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let sending = async {
            while !self.before.is_empty() {
                // Descriptors belong to the message, and not to what is before it.
                let (first, behind) =
                    if descriptors.is_empty() { (&*self.before, buffer) } else { (&*self.before, &[][..]) };
                let sent = self
                    .stream
                    .async_io(Interest::WRITABLE, || send(self.stream.as_fd(), [first, behind], &[]))
                    .await?;
                let beyond = sent.saturating_sub(first.len());
                self.before.drain(..sent.min(self.before.len()));
                if beyond > 0 {
                    return Ok(beyond);
                }
            }
            self.stream.async_io(Interest::WRITABLE, || send(self.stream.as_fd(), [buffer, &[]], descriptors)).await
        };
        timeout(STALLED, sending).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.stream.as_fd(), rustix::net::Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok((received.bytes, descriptors))
}

fn send(socket: BorrowedFd<'_>, buffers: [&[u8]; 2], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, &buffers.map(IoSlice::new), &mut control, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_the_greeting_ends_with_its_second_line() {
        let whole = b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\nl\x02";
        let length = whole.len() - 2;
        for known in 0..length {
            assert_eq!(answer(&whole[..known]).unwrap(), None, "{known}");
        }
        for known in length..=whole.len() {
            assert_eq!(answer(&whole[..known]).unwrap(), Some(length), "{known}");
        }
    }

    #[test]
    fn another_answer_is_told_escaped_and_shortened() {
        let refused = |bytes: &[u8]| answer(bytes).unwrap_err().to_string();
        assert_eq!(refused(b"REJECTED EXTERNAL\r\n"), r#"it answers "REJECTED EXTERNAL""#);
        assert_eq!(refused(b"OK 1\r\nERROR no \x1b[2J\r\n"), r#"it answers "ERROR no \u{1b}[2J""#);
        assert_eq!(refused(&[b'x'; MAX_GREETING]), "what answers is no D-Bus");
        assert_eq!(refused(&[&[b'x'; 200][..], b"\r\n"].concat()).len(), "it answers \"\"".len() + MAX_SHOWN);
    }

    #[tokio::test]
    async fn descriptors_stay_with_the_message_that_they_were_sent_with() {
        let (ours, theirs) = StdStream::pair().unwrap();
        let (mut reader, _writer) = Stream::to_daemon(ours).unwrap().split().take();
        let file = std::fs::File::open("/dev/null").unwrap();
        let answer = b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n";
        assert_eq!(answer.len(), ANSWER);
        for (bytes, descriptors) in [(&answer[..], &[][..]), (b"first!", &[]), (b"second", &[file.as_fd()])] {
            assert_eq!(send(theirs.as_fd(), [bytes, &[]], descriptors).unwrap(), bytes.len());
        }
        for (expected, descriptors) in [(b"first!", 0), (b"second", 1)] {
            let mut message = [0; 6];
            let (read, passed) = reader.recvmsg(&mut message).await.unwrap();
            assert_eq!((read, &message, passed.len()), (6, expected, descriptors));
        }
    }

    #[test]
    fn the_greeting_names_the_user_in_hexadecimal_digits_of_its_decimal_ones() {
        assert_eq!(greeting(1000), b"\0AUTH EXTERNAL 31303030\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
    }
}
