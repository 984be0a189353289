//! Contexts of GSSAPI by the library of MIT Kerberos, which is opened when the first one is made.
//!
//! A login is taken anew for each context: the library takes the ticket of the login's own cache in
//! memory, and a new one by the keytab once half of its life is over. So nothing here renews, and
//! two principals have nothing in common. The cache has the name that the client of HDFS has for
//! the same login, so both use the same tickets.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

use crate::exchange::Context;
use crate::problem::{Parties, Problem};

const LIBRARY: &str = "libgssapi_krb5.so.2";

/// 1.2.840.113554.1.2.2, the mechanism; the type of a principal's name; the type of a service's.
static KERBEROS: [u8; 9] = *b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
static PRINCIPAL: [u8; 10] = *b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";
static SERVICE: [u8; 10] = *b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04";

/// The broker proves itself too; messages have an order, and can be proved.
const FLAGS: u32 = 2 | 8 | 32;
const INITIATE: c_int = 1;
const INDEFINITE: u32 = u32::MAX;
const CONTINUE_NEEDED: u32 = 1;
/// Errors of a call and of a routine; what is below says more of a success.
const ERRORS: u32 = 0xffff_0000;
/// "No credentials" and "failure": what the mechanism says is all that there is to say.
const SAY_NOTHING: [u32; 2] = [7 << 16, 13 << 16];
const OF_CALLS: c_int = 1;
const OF_MECHANISM: c_int = 2;

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

#[repr(C)]
struct Oid {
    length: u32,
    elements: *mut c_void,
}

#[repr(C)]
struct Pair {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct Pairs {
    count: u32,
    elements: *mut Pair,
}

type Handle = *mut c_void;

/// The functions that are called, each with the prefix `gss_`.
#[derive(Clone, Copy)]
struct Library {
    import_name: unsafe extern "C" fn(*mut u32, *mut Buffer, *mut Oid, *mut Handle) -> u32,
    release_name: unsafe extern "C" fn(*mut u32, *mut Handle) -> u32,
    acquire_cred_from: unsafe extern "C" fn(
        *mut u32,
        Handle,
        u32,
        *mut c_void,
        c_int,
        *const Pairs,
        *mut Handle,
        *mut c_void,
        *mut u32,
    ) -> u32,
    release_cred: unsafe extern "C" fn(*mut u32, *mut Handle) -> u32,
    init_sec_context: unsafe extern "C" fn(
        *mut u32,
        Handle,
        *mut Handle,
        Handle,
        *mut Oid,
        u32,
        u32,
        *mut c_void,
        *mut Buffer,
        *mut c_void,
        *mut Buffer,
        *mut u32,
        *mut u32,
    ) -> u32,
    delete_sec_context: unsafe extern "C" fn(*mut u32, *mut Handle, *mut Buffer) -> u32,
    wrap: unsafe extern "C" fn(
        *mut u32,
        Handle,
        c_int,
        u32,
        *mut Buffer,
        *mut c_int,
        *mut Buffer,
    ) -> u32,
    unwrap: unsafe extern "C" fn(
        *mut u32,
        Handle,
        *mut Buffer,
        *mut Buffer,
        *mut c_int,
        *mut u32,
    ) -> u32,
    release_buffer: unsafe extern "C" fn(*mut u32, *mut Buffer) -> u32,
    display_status:
        unsafe extern "C" fn(*mut u32, u32, c_int, *mut Oid, *mut u32, *mut Buffer) -> u32,
}

impl Library {
    /// The one of this process.
    fn get() -> Result<Self, Problem> {
        static OPENED: OnceLock<Result<Library, String>> = OnceLock::new();
        let opened = OPENED.get_or_init(|| {
            // SAFETY: the library has no more than its own initialisers, and stays open for good;
            // each function has the type that RFC 2744 and MIT's header give it.
            unsafe { Self::open() }.map_err(|error| error.to_string())
        });
        opened.clone().map_err(Problem::Library)
    }

    /// # Safety
    /// The library is the one of MIT Kerberos.
    unsafe fn open() -> Result<Self, libloading::Error> {
        // SAFETY: as above.
        unsafe {
            let it = Box::leak(Box::new(libloading::Library::new(LIBRARY)?));
            Ok(Self {
                import_name: *it.get(b"gss_import_name\0")?,
                release_name: *it.get(b"gss_release_name\0")?,
                acquire_cred_from: *it.get(b"gss_acquire_cred_from\0")?,
                release_cred: *it.get(b"gss_release_cred\0")?,
                init_sec_context: *it.get(b"gss_init_sec_context\0")?,
                delete_sec_context: *it.get(b"gss_delete_sec_context\0")?,
                wrap: *it.get(b"gss_wrap\0")?,
                unwrap: *it.get(b"gss_unwrap\0")?,
                release_buffer: *it.get(b"gss_release_buffer\0")?,
                display_status: *it.get(b"gss_display_status\0")?,
            })
        }
    }

    /// What two status codes mean; `None`: a success.
    fn said(self, (major, minor): (u32, u32)) -> Option<String> {
        if major & ERRORS == 0 {
            return None;
        }
        let of_mechanism = if minor == 0 { String::new() } else { self.text(minor, OF_MECHANISM) };
        if SAY_NOTHING.contains(&(major & ERRORS)) && !of_mechanism.is_empty() {
            return Some(of_mechanism);
        }
        let of_call = self.text(major, OF_CALLS);
        Some(if of_mechanism.is_empty() { of_call } else { format!("{of_call}: {of_mechanism}") })
    }

    fn text(self, code: u32, kind: c_int) -> String {
        let (mut minor, mut more, mut oid) = (0, 0, oid(&KERBEROS));
        self.output(|out| {
            // SAFETY: each pointer is to a value that outlives the call.
            let major = unsafe {
                (self.display_status)(&raw mut minor, code, kind, &raw mut oid, &raw mut more, out)
            };
            (major, minor)
        })
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .unwrap_or_default()
    }

    /// What a function writes into a buffer of the library's; or its status codes.
    fn output(self, call: impl FnOnce(*mut Buffer) -> (u32, u32)) -> Result<Vec<u8>, (u32, u32)> {
        let mut buffer = Buffer { length: 0, value: null_mut() };
        let codes = call(&raw mut buffer);
        let bytes = if buffer.value.is_null() {
            Vec::new()
        } else {
            // SAFETY: the library has written so many bytes there.
            unsafe { std::slice::from_raw_parts(buffer.value.cast(), buffer.length) }.to_vec()
        };
        let mut minor = 0;
        // SAFETY: the buffer is the library's, or empty.
        unsafe { (self.release_buffer)(&raw mut minor, &raw mut buffer) };
        if codes.0 & ERRORS == 0 { Ok(bytes) } else { Err(codes) }
    }
}

fn oid(elements: &'static [u8]) -> Oid {
    Oid { length: elements.len() as u32, elements: elements.as_ptr() as *mut c_void }
}

/// One that the library only reads.
fn input(bytes: &[u8]) -> Buffer {
    Buffer { length: bytes.len(), value: bytes.as_ptr() as *mut c_void }
}

/// A name as the library has it.
struct Name(Library, Handle);

impl Name {
    fn new(library: Library, name: &str, kind: &'static [u8]) -> Result<Self, (u32, u32)> {
        let (mut minor, mut made, mut text, mut kind) =
            (0, null_mut(), input(name.as_bytes()), oid(kind));
        // SAFETY: each pointer is to a value that outlives the call.
        let major = unsafe {
            (library.import_name)(&raw mut minor, &raw mut text, &raw mut kind, &raw mut made)
        };
        if major & ERRORS == 0 { Ok(Self(library, made)) } else { Err((major, minor)) }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: the name is the library's, and goes here.
        unsafe { (self.0.release_name)(&mut 0, &raw mut self.1) };
    }
}

/// A login; none: the library takes what the process has.
struct Login(Library, Handle);

impl Login {
    /// Asks the KDC unless there is a ticket that is good for a while. Blocks.
    fn new(library: Library, (principal, keytab): &(String, String)) -> Result<Self, LoginError> {
        let name = Name::new(library, principal, &PRINCIPAL).map_err(LoginError::Codes)?;
        let zero = |_| LoginError::Zero;
        let cache = format!("MEMORY:aqueduct {principal} {keytab}");
        let (cache, keytab) =
            (CString::new(cache).map_err(zero)?, CString::new(keytab.as_str()).map_err(zero)?);
        let mut elements = [
            Pair { key: c"ccache".as_ptr(), value: cache.as_ptr() },
            Pair { key: c"client_keytab".as_ptr(), value: keytab.as_ptr() },
        ];
        let store = Pairs { count: elements.len() as u32, elements: elements.as_mut_ptr() };
        let (mut minor, mut made) = (0, null_mut());
        // SAFETY: each pointer is to a value that outlives the call, or null where that may be.
        let major = unsafe {
            (library.acquire_cred_from)(
                &raw mut minor,
                name.1,
                INDEFINITE,
                null_mut(),
                INITIATE,
                &raw const store,
                &raw mut made,
                null_mut(),
                null_mut(),
            )
        };
        if major & ERRORS == 0 {
            Ok(Self(library, made))
        } else {
            Err(LoginError::Codes((major, minor)))
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        if !self.1.is_null() {
            // SAFETY: the login is the library's, and goes here.
            unsafe { (self.0.release_cred)(&mut 0, &raw mut self.1) };
        }
    }
}

enum LoginError {
    Zero,
    Codes((u32, u32)),
}

/// What a client proves itself by to one broker.
pub(crate) struct Client {
    library: Library,
    parties: Parties,
    target: Name,
    login: Login,
    context: Handle,
}

impl Client {
    /// Logs in. Blocks.
    pub(crate) fn new(parties: Parties) -> Result<Self, Problem> {
        let library = Library::get()?;
        let refused = |codes| parties.explain(&library.said(codes).unwrap_or_default());
        let target = format!("{}@{}", parties.service, parties.host);
        let target = Name::new(library, &target, &SERVICE).map_err(refused)?;
        let login = match &parties.login {
            None => Login(library, null_mut()),
            Some(login) => {
                readable(&login.1)?;
                Login::new(library, login).map_err(|error| match error {
                    LoginError::Zero => Problem::Zero,
                    LoginError::Codes(codes) => refused(codes),
                })?
            }
        };
        Ok(Self { library, parties, target, login, context: null_mut() })
    }

    fn explain(&self, codes: (u32, u32)) -> Problem {
        self.parties.explain(&self.library.said(codes).unwrap_or_default())
    }
}

/// The library says nothing of its own about a file that it cannot read.
#[expect(clippy::disallowed_methods, reason = "a thread of librdkafka has no `Env`")]
fn readable(keytab: &str) -> Result<(), Problem> {
    let path = keytab.strip_prefix("FILE:").unwrap_or(keytab);
    std::fs::File::open(path).map(drop).map_err(|error| Problem::Keytab(path.into(), error))
}

impl Context for Client {
    fn step(&mut self, token: Option<&[u8]>) -> Result<(Vec<u8>, bool), Problem> {
        let (mut minor, mut mechanism) = (0, oid(&KERBEROS));
        let (mut token, mut is_there) = (token.map(input), false);
        let token = token.as_mut().map_or(null_mut(), |token| &raw mut *token);
        let (library, login, target) = (self.library, self.login.1, self.target.1);
        let context = &raw mut self.context;
        let out = library.output(|out| {
            // SAFETY: each pointer is to a value that outlives the call, or null where that may be;
            // login, context and target are the library's, or null for none.
            let major = unsafe {
                (library.init_sec_context)(
                    &raw mut minor,
                    login,
                    context,
                    target,
                    &raw mut mechanism,
                    FLAGS,
                    INDEFINITE,
                    null_mut(),
                    token,
                    null_mut(),
                    out,
                    null_mut(),
                    null_mut(),
                )
            };
            is_there = major & CONTINUE_NEEDED == 0;
            (major, minor)
        });
        out.map(|token| (token, is_there)).map_err(|codes| self.explain(codes))
    }

    fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem> {
        let (mut minor, mut message) = (0, input(message));
        let out = self.library.output(|out| {
            // SAFETY: as above.
            let major = unsafe {
                (self.library.unwrap)(
                    &raw mut minor,
                    self.context,
                    &raw mut message,
                    out,
                    null_mut(),
                    null_mut(),
                )
            };
            (major, minor)
        });
        out.map_err(|codes| self.explain(codes))
    }

    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem> {
        let (mut minor, mut message) = (0, input(message));
        let out = self.library.output(|out| {
            // SAFETY: as above.
            let major = unsafe {
                (self.library.wrap)(
                    &raw mut minor,
                    self.context,
                    0,
                    0,
                    &raw mut message,
                    null_mut(),
                    out,
                )
            };
            (major, minor)
        });
        out.map_err(|codes| self.explain(codes))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.context.is_null() {
            // SAFETY: the context is the library's, and goes here; no token is asked for.
            unsafe { (self.library.delete_sec_context)(&mut 0, &raw mut self.context, null_mut()) };
        }
    }
}
