//! The library of SASL that librdkafka asks for: Kerberos alone.
//!
//! librdkafka does `GSSAPI` by the functions of libsasl2 (Cyrus). That library would have to be
//! there at the build and on each host, with a plug-in of its own, takes one keytab for the whole
//! process, and leaves the renewal of tickets to a command of a shell. What librdkafka needs of it
//! are two messages and the library of Kerberos behind them, so that is what is here, under the
//! same names. See ADR 90.
//!
//! ```text
//!   librdkafka ── sasl_client_new, _start, _step ──► exchange (RFC 4752) ──► gss
//!       ▲                                                                     │ opened when
//!       └── callbacks: whose ticket, and by which key                         ▼ it is needed
//!                                                             libgssapi_krb5.so.2 ──► KDC
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `exchange` | what is sent upon what: pure |
//! | `gss` | the library of Kerberos |
//! | `problem` | what it says, and what helps: pure |
//!
//! # Whose ticket it is
//!
//! librdkafka hands out two of its properties by callbacks, and so they say whose ticket it is:
//! `sasl.kerberos.principal`, and in `sasl.password` the path of the keytab. Without the latter it
//! is whatever the process has: a ticket cache, or the keytab of `KRB5_CLIENT_KTNAME`.
//!
//! # Invariants
//!
//! 1. A failure has a text, which [`sasl_errdetail`] gives, until the connection goes.
//! 2. What is handed out lives until the next call with the same connection.
#![expect(unsafe_code, reason = "functions that C calls, and a library in C")]

mod exchange;
mod gss;
mod problem;

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr::{null, null_mut};

use exchange::Exchange;
use gss::Client;
use problem::{Parties, Problem};

const OK: c_int = 0;
const CONTINUE: c_int = 1;
const FAIL: c_int = -1;

const ASKS_PASSWORD: c_ulong = 0x4004;
const ASKS_PRINCIPAL: c_ulong = 0x8007;
const LAST: c_ulong = 0;

/// Bytes of a principal.
const PRINCIPAL_MAX: usize = 1024;

/// The one mechanism.
const MECHANISM: &CStr = c"GSSAPI";

/// An entry of the list that librdkafka hands in, which ends with one whose number is 0.
#[repr(C)]
#[derive(Debug)]
pub struct Callback {
    id: c_ulong,
    call: *const c_void,
    context: *mut c_void,
}

/// What a callback writes a password into: its length, then its bytes.
#[repr(C)]
struct Secret {
    length: c_ulong,
    bytes: [u8; 1],
}

type PrincipalCall = unsafe extern "C" fn(
    *mut Connection,
    *mut c_void,
    *const c_char,
    c_uint,
    c_uint,
    *const c_char,
    *mut c_char,
    c_uint,
    *mut c_uint,
) -> c_int;
type PasswordCall =
    unsafe extern "C" fn(*mut Connection, *mut c_void, c_int, *mut *mut Secret) -> c_int;

/// A connection to a broker, as long as a client proves itself on it.
pub struct Connection {
    service: String,
    host: String,
    callbacks: *const Callback,
    exchange: Option<Exchange<Client>>,
    sent: Vec<u8>,
    problem: CString,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, host, problem, .. } = self;
        write!(f, "Connection to {service}@{host}, {problem:?}")
    }
}

impl Connection {
    /// The callback of this number, and what it is handed.
    fn callback(&self, id: c_ulong) -> Option<(*const c_void, *mut c_void)> {
        let mut at = self.callbacks;
        // SAFETY: the list lives as long as the connection, and ends with the number 0.
        unsafe {
            while !at.is_null() && (*at).id != LAST {
                if (*at).id == id {
                    return Some(((*at).call, (*at).context));
                }
                at = at.add(1);
            }
        }
        None
    }

    fn principal(&mut self) -> Option<String> {
        let (call, context) = self.callback(ASKS_PRINCIPAL)?;
        let (mut text, mut length) = ([0_u8; PRINCIPAL_MAX], 0);
        // SAFETY: the callback of this number has this type; what it reads are empty texts, and it
        // writes no more than there is room for, which it says too.
        let code = unsafe {
            let call = std::mem::transmute::<*const c_void, PrincipalCall>(call);
            let (out, most) = (text.as_mut_ptr().cast(), text.len() as c_uint);
            let (name, realm) = (c"".as_ptr(), c"".as_ptr());
            call(self, context, name, 0, 0, realm, out, most, &raw mut length)
        };
        let text = text.get(..length as usize).filter(|_| code == OK)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn keytab(&mut self) -> Option<String> {
        let (call, context) = self.callback(ASKS_PASSWORD)?;
        let mut secret: *mut Secret = null_mut();
        // SAFETY: the callback of this number has this type; it allocates by `realloc`, and says
        // how many bytes there are.
        unsafe {
            let call = std::mem::transmute::<*const c_void, PasswordCall>(call);
            let code = call(self, context, ASKS_PASSWORD as c_int, &raw mut secret);
            if secret.is_null() {
                return None;
            }
            let bytes = (&raw const (*secret).bytes).cast::<u8>();
            let path = std::slice::from_raw_parts(bytes, (*secret).length as usize);
            let path = String::from_utf8_lossy(path).into_owned();
            libc::free(secret.cast());
            (code == OK).then_some(path)
        }
    }

    fn begin(&mut self) -> Result<Vec<u8>, Problem> {
        let login = match self.keytab() {
            Some(keytab) => self.principal().map(|principal| (principal, keytab)),
            None => None,
        };
        let (service, host) = (self.service.clone(), self.host.clone());
        let client = Client::new(Parties { login, service, host })?;
        let (exchange, token) = Exchange::begin(client)?;
        self.exchange = Some(exchange);
        Ok(token)
    }

    /// Keeps what is to be sent, or why there is nothing.
    ///
    /// # Safety
    /// Both places may be written to.
    unsafe fn hand_out(
        &mut self,
        outcome: Result<(Vec<u8>, c_int), Problem>,
        out: *mut *const c_char,
        length: *mut c_uint,
    ) -> c_int {
        let (bytes, code) = outcome.unwrap_or_else(|problem| {
            let text = problem.to_string().replace('\0', " ");
            self.problem = CString::new(text).unwrap_or_default();
            (Vec::new(), FAIL)
        });
        self.sent = bytes;
        // SAFETY: as the caller says; a pointer of an empty vector is not null.
        unsafe {
            *out = self.sent.as_ptr().cast();
            *length = self.sent.len() as c_uint;
        }
        code
    }
}

/// # Safety
/// It is null or a text with a zero byte at its end.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// There is nothing to prepare.
#[unsafe(no_mangle)]
pub extern "C" fn sasl_client_init(_callbacks: *const Callback) -> c_int {
    OK
}

/// A connection to `host`, whose server runs as `service`.
///
/// # Safety
/// Both are texts; the callbacks live as long as the connection; `made` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_client_new(
    service: *const c_char,
    host: *const c_char,
    _local: *const c_char,
    _remote: *const c_char,
    callbacks: *const Callback,
    _flags: c_uint,
    made: *mut *mut Connection,
) -> c_int {
    // SAFETY: as the caller says.
    unsafe {
        let connection = Connection {
            service: text(service),
            host: text(host),
            callbacks,
            exchange: None,
            sent: Vec::new(),
            problem: CString::default(),
        };
        *made = Box::into_raw(Box::new(connection));
    }
    OK
}

/// Logs in, and gives what is sent first. Blocks while the KDC is asked.
///
/// # Safety
/// The connection is one of [`sasl_client_new`]; the other places may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_client_start(
    connection: *mut Connection,
    _mechanisms: *const c_char,
    _asked: *mut *mut c_void,
    out: *mut *const c_char,
    length: *mut c_uint,
    mechanism: *mut *const c_char,
) -> c_int {
    // SAFETY: as the caller says.
    unsafe {
        if !mechanism.is_null() {
            *mechanism = MECHANISM.as_ptr();
        }
        let connection = &mut *connection;
        let outcome = connection.begin().map(|token| (token, CONTINUE));
        connection.hand_out(outcome, out, length)
    }
}

/// Gives what is sent upon `said`.
///
/// # Safety
/// As of [`sasl_client_start`]; `said` is null or has `said_length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_client_step(
    connection: *mut Connection,
    said: *const c_char,
    said_length: c_uint,
    _asked: *mut *mut c_void,
    out: *mut *const c_char,
    length: *mut c_uint,
) -> c_int {
    // SAFETY: as the caller says.
    unsafe {
        let said = match said.is_null() {
            true => &[],
            false => std::slice::from_raw_parts(said.cast(), said_length as usize),
        };
        let connection = &mut *connection;
        let answered = connection.exchange.as_mut().ok_or(Problem::Order);
        let answered = answered.and_then(|exchange| exchange.answer(said));
        let outcome = answered.map(|(bytes, is_last)| (bytes, if is_last { OK } else { CONTINUE }));
        connection.hand_out(outcome, out, length)
    }
}

/// Ends a connection.
///
/// # Safety
/// The place has null, or a connection that is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_dispose(connection: *mut *mut Connection) {
    // SAFETY: as the caller says.
    unsafe {
        let connection = std::ptr::replace(connection, null_mut());
        if !connection.is_null() {
            drop(Box::from_raw(connection));
        }
    }
}

/// Why the last call failed.
///
/// # Safety
/// The connection is null or one of [`sasl_client_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_errdetail(connection: *mut Connection) -> *const c_char {
    // SAFETY: as the caller says.
    unsafe { connection.as_ref() }.map_or(c"".as_ptr(), |connection| connection.problem.as_ptr())
}

/// What a code means: [`sasl_errdetail`] says more.
#[unsafe(no_mangle)]
pub extern "C" fn sasl_errstring(
    _code: c_int,
    _languages: *const c_char,
    _language: *mut *const c_char,
) -> *const c_char {
    c"the client failed to authenticate with Kerberos".as_ptr()
}

/// A property of a connection; none is known.
///
/// # Safety
/// The place may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_getprop(
    _connection: *mut Connection,
    _number: c_int,
    value: *mut *const c_void,
) -> c_int {
    // SAFETY: as the caller says.
    unsafe { *value = null() };
    FAIL
}

/// The mechanisms that there are.
///
/// # Safety
/// `result` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_listmech(
    _connection: *mut Connection,
    _user: *const c_char,
    _prefix: *const c_char,
    _separator: *const c_char,
    _suffix: *const c_char,
    result: *mut *const c_char,
    _length: *mut c_uint,
    _count: *mut c_int,
) -> c_int {
    // SAFETY: as the caller says.
    unsafe { *result = MECHANISM.as_ptr() };
    OK
}
