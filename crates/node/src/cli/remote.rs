//! A connection to a server that speaks Redis's protocol: Bitroster, Redis or a kin.
//!
//! For commands that talk to one server at a time: blocking, with a time for everything, and with
//! errors that name the address and carry an exit code. Password and certificates come from files,
//! the environment or the address, never from a flag that others see in the list of processes.

mod address;
mod tls;

use std::{
    env, fmt, fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use bitroster_resp::{Frame, FrameLimits, ReplySkipper, Version, decode_frame, encode_request};
use bytes::{Buf as _, BytesMut};
use clap::Args;

pub(crate) use self::address::Address;
use super::exit::{Code, Failing as _, Failure};

/// A buffer that has grown beyond this is given back when it is empty.
const RETAINED_BYTES_MAX: usize = 4 << 20;

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 << 10;

/// Longest password file.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// Where the server is that a command talks to, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoteArgs {
    /// The server: HOST:PORT, redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// for TLS.
    #[arg(long, value_name = "ADDR", env = "BITROSTER_ADDR", default_value = "127.0.0.1:6379")]
    pub(crate) addr: Address,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// How a server is entered.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AccessArgs {
    /// User to log in as [default: the address's, else "default"]
    #[arg(long, value_name = "NAME", env = "BITROSTER_USER")]
    pub(crate) user: Option<String>,
    /// File whose first line is the password; the environment's BITROSTER_PASSWORD does as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Connects by TLS, as a rediss:// address does.
    #[arg(long)]
    pub(crate) tls: bool,
    /// The authorities to trust, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// A certificate to show, PEM, for servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Milliseconds to wait for the connection, and then for each answer.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub(crate) timeout_ms: u64,
}

/// A server and how to enter it, ready to connect to as often as wanted.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: Address,
    login: Option<Login>,
    tls: Option<tls::Client>,
    timeout: Duration,
}

/// Who logs in. Never shown.
#[derive(Clone)]
struct Login {
    user: Option<String>,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl RemoteArgs {
    /// Reads what the arguments name; connects to nobody.
    ///
    /// # Errors
    ///
    /// A password or certificate that cannot be read.
    pub(crate) fn target(&self) -> Result<Target> {
        Target::new(&self.addr, &self.access, "BITROSTER_PASSWORD")
    }

    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// As [`Target::connect`].
    pub(crate) fn connect(&self, version: Version) -> Result<Remote> {
        self.target()?.connect(version)
    }
}

impl Target {
    /// A server and how to enter it. The password is the file's, else the address's, else the
    /// environment's at `password_variable`.
    ///
    /// # Errors
    ///
    /// A password or certificate that cannot be read.
    pub(crate) fn new(
        address: &Address,
        access: &AccessArgs,
        password_variable: &str,
    ) -> Result<Self> {
        let password = match (&access.password_file, &address.password) {
            (Some(path), _) => Some(password_of(path)?),
            (None, Some(password)) => Some(password.clone()),
            (None, None) => env::var(password_variable).ok().filter(|text| !text.is_empty()),
        };
        let user = access.user.clone().or_else(|| address.user.clone());
        if user.is_some() && password.is_none() {
            let failure = Failure::new(Code::Usage, format!("no password for {address}"));
            let hint = format!("give it by --password-file FILE or {password_variable}");
            return Err(failure.hint(hint).into());
        }
        let tls = match access.tls || address.tls {
            true => Some(tls::Client::open(access).failing(Code::Usage)?),
            false => None,
        };
        let login = password.map(|password| Login { user, password });
        let timeout = Duration::from_millis(access.timeout_ms.max(1));
        Ok(Self { address: address.clone(), login, tls, timeout })
    }

    /// The address, without password.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Connects, shakes hands, logs in and chooses the database.
    ///
    /// # Errors
    ///
    /// With [`Code::Unreachable`] if nobody answers there, [`Code::Denied`] if the login is
    /// refused.
    pub(crate) fn connect(&self, version: Version) -> Result<Remote> {
        let mut remote = self.open().failing_with(
            Code::Unreachable,
            format!("does a server listen at {}? does it speak TLS?", self.address),
        )?;
        self.greet(&mut remote, version)?;
        if self.address.database != 0 {
            remote.ask(&["SELECT", &self.address.database.to_string()])?;
        }
        Ok(remote)
    }

    fn open(&self) -> Result<Remote> {
        let Address { host, port, .. } = &self.address;
        let no_connection = || format!("no connection to {}", self.address);
        let found = (host.as_str(), *port).to_socket_addrs().with_context(no_connection)?;
        let mut last = anyhow!("the name has no address");
        for address in found {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(self.timeout))?;
                    stream.set_write_timeout(Some(self.timeout))?;
                    let stream = match &self.tls {
                        None => Stream::Plain(stream),
                        Some(tls) => {
                            let shaken = tls.shake(host, stream);
                            Stream::Tls(Box::new(shaken.with_context(no_connection)?))
                        }
                    };
                    return Ok(Remote::over(stream, self.address.to_string()));
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last.context(no_connection()))
    }

    /// HELLO for RESP3; AUTH, which every Redis knows, for RESP2.
    fn greet(&self, remote: &mut Remote, version: Version) -> Result<()> {
        let mut request = Vec::new();
        if version == Version::Resp3 {
            request.extend(["HELLO", "3"]);
        }
        if let Some(Login { user, password }) = &self.login {
            request.push("AUTH");
            match (user, version) {
                (Some(user), _) => request.push(user),
                // HELLO wants a user, AUTH of a Redis before 6 wants none.
                (None, Version::Resp3) => request.push("default"),
                (None, Version::Resp2) => {}
            }
            request.push(password);
        }
        if request.is_empty() {
            // So that a server that wants a password says so now, and one that hangs is noticed.
            request.push("PING");
        }
        let reply = remote.call(&request).failing(Code::Unreachable)?;
        let Frame::Error(text) = reply else { return Ok(()) };
        // AUTH has no other purpose: whatever it says, nobody is let in.
        let is_auth = self.login.is_some() && version == Version::Resp2;
        let code = if is_auth { Code::Denied } else { Code::of_reply(&text) };
        let text = String::from_utf8_lossy(&text).into_owned();
        let failure = Failure::new(code, format!("{} refused the login: {text}", self.address));
        Err(match (code, &self.login) {
            (Code::Denied, None) => {
                failure.hint("give a password by --password-file FILE or BITROSTER_PASSWORD")
            }
            (Code::Denied, Some(_)) => failure.hint("check user and password"),
            _ => failure,
        }
        .into())
    }
}

fn password_of(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let mut text = String::new();
        fs::File::open(path)?.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    read().with_context(|| format!("cannot read {}", path.display())).failing(Code::Usage)
}

/// What carries the bytes.
enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Connection>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection. After an error that is not a server's reply it is of no more use.
///
/// Holds what was sent last and what came and was not taken yet: at most the largest request and
/// the largest reply that the caller asks for, 512 MiB each.
pub(crate) struct Remote {
    stream: Stream,
    name: String,
    skipper: ReplySkipper,
    received: BytesMut,
    sent: Vec<u8>,
}

impl Remote {
    fn over(stream: Stream, name: String) -> Self {
        let skipper = ReplySkipper::new(FrameLimits::default());
        Self { stream, name, skipper, received: BytesMut::new(), sent: Vec::new() }
    }

    /// The server's address, without password, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long one answer may take; `None`: for ever, as listeners want.
    ///
    /// # Errors
    ///
    /// If the system does not take it.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        };
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(timeout)?;
        Ok(())
    }

    /// Sends one request and waits for its reply, which may be an error reply.
    ///
    /// # Errors
    ///
    /// With [`Code::Unknown`] if the connection breaks or no answer comes in time.
    pub(crate) fn call(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Frame> {
        self.put(args);
        self.flush()?;
        self.receive()
    }

    /// As [`Self::call`]; an error reply is an error with the exit code that fits it.
    ///
    /// # Errors
    ///
    /// Also the server's refusal.
    pub(crate) fn ask(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Frame> {
        let reply = self.call(args)?;
        self.accepted(args, reply)
    }

    /// Sends all requests at once and waits for as many replies; error replies are among them.
    ///
    /// Either the requests or the replies should be small (64 KiB together): a server may stop to
    /// read while its replies are not taken.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub(crate) fn pipeline<A: AsRef<[u8]>>(&mut self, requests: &[Vec<A>]) -> Result<Vec<Frame>> {
        for request in requests {
            self.put(request);
        }
        self.flush()?;
        requests.iter().map(|_| self.receive()).collect()
    }

    /// Puts a request behind those that wait to be sent by [`Self::flush`].
    pub(crate) fn put(&mut self, args: &[impl AsRef<[u8]>]) {
        encode_request(args, &mut self.sent);
    }

    /// Sends what was put.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        let sent = self.stream.write_all(&self.sent).and_then(|()| self.stream.flush());
        self.sent.clear();
        self.sent.shrink_to(RETAINED_BYTES_MAX);
        sent.map_err(|error| self.broken(&error))
    }

    /// Waits for the next reply. Pushed messages are replies too: whoever subscribed reads them.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub(crate) fn receive(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(frame);
            }
            let start = self.received.len();
            self.received.resize(start + READ_BYTES, 0);
            let read = self.stream.read(&mut self.received[start..]);
            self.received.truncate(start + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// The reply that has come, if one has wholly.
    fn next_frame(&mut self) -> Result<Option<Frame>> {
        let malformed = |name: &str| format!("{name} does not speak Redis's protocol");
        let skipped = self.skipper.skip(&self.received);
        let skipped = skipped.with_context(|| malformed(&self.name)).failing(Code::Unreachable)?;
        let Some(skipped) = skipped else { return Ok(None) };
        let frame = decode_frame(&self.received, FrameLimits::default());
        let frame = frame.with_context(|| malformed(&self.name)).failing(Code::Unreachable)?;
        self.received.advance(skipped.consumed);
        if self.received.is_empty() && self.received.capacity() > RETAINED_BYTES_MAX {
            self.received = BytesMut::new();
        }
        Ok(frame.map(|(frame, _)| frame))
    }

    /// The reply, or the error that it is.
    ///
    /// # Errors
    ///
    /// The server's refusal of the request, with its exit code.
    pub(crate) fn accepted(&self, args: &[impl AsRef<[u8]>], reply: Frame) -> Result<Frame> {
        let Frame::Error(text) = reply else { return Ok(reply) };
        let name = args.first().map(|name| String::from_utf8_lossy(name.as_ref()));
        let name = name.unwrap_or_default().into_owned();
        let said = String::from_utf8_lossy(&text);
        let what = format!("{} refused {name}: {said}", self.name);
        Err(Failure::new(Code::of_reply(&text), what).into())
    }

    fn broken(&self, error: &io::Error) -> anyhow::Error {
        use io::ErrorKind::{TimedOut, UnexpectedEof, WouldBlock};
        let text = if matches!(error.kind(), TimedOut | WouldBlock) {
            format!("{} did not answer in time", self.name)
        } else if error.kind() == UnexpectedEof {
            format!("{} closed the connection", self.name)
        } else {
            format!("the connection to {} broke: {error}", self.name)
        };
        Failure::new(Code::of_io(error, true), text).into()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::{super::exit::code_of, *};

    /// Somebody who answers one connection with `bytes`, in two pieces, and closes it.
    fn answering(bytes: &'static [u8]) -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            stream.write_all(head).unwrap();
            stream.write_all(tail).unwrap();
        });
        target(&format!("127.0.0.1:{port}"))
    }

    fn target(address: &str) -> Target {
        let access = AccessArgs { timeout_ms: 5_000, ..AccessArgs::default() };
        Target::new(&address.parse().unwrap(), &access, "NO_SUCH_VARIABLE").unwrap()
    }

    #[test]
    fn a_reply_in_pieces_is_put_together_and_the_end_is_told() {
        let target = answering(b"+PONG\r\n*2\r\n$3\r\na\r\n\r\n:7\r\n");
        let mut remote = target.connect(Version::Resp2).unwrap();
        let array = Frame::Array(vec![Frame::Bulk("a\r\n".into()), Frame::Integer(7)]);
        assert_eq!(remote.receive().unwrap(), array);
        let error = remote.receive().unwrap_err();
        assert_eq!(code_of(&error), Code::Unknown);
        assert!(error.to_string().ends_with("closed the connection"), "{error}");
    }

    #[test]
    fn a_server_that_wants_a_password_denies_and_nobody_is_unreachable() {
        let wants = answering(b"-NOAUTH Authentication required.\r\n");
        assert_eq!(code_of(&wants.connect(Version::Resp3).err().unwrap()), Code::Denied);
        let strange = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(code_of(&strange.connect(Version::Resp2).err().unwrap()), Code::Unreachable);
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let error = target(&free.to_string()).connect(Version::Resp2).err().unwrap();
        assert_eq!(code_of(&error), Code::Unreachable);
        assert!(format!("{error:#}").contains(&free.to_string()), "{error:#}");
    }
}
