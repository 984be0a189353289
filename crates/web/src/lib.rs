//! HTTP of all clients: connections, requests, logins and errors. A component decides only about
//! the meaning of a response for its events. For listeners: the check of hosts and tokens.
//!
//! ```text
//!   settings ─► url_of, add_headers, Authorization (fixed, or tokens of OAuth 2)
//!
//!   Connector ─► Client ─┬─► exchange ─► Reply, or Lost: the server may have the request, or not
//!   Dialer ─► once ──────┘
//!                        └─► failure: the same with a time limit and a text for people
//! ```
//!
//! | module | content |
//! |---|---|
//! | `connector` | connections, kept open between requests; without proxies |
//! | `exchange` | one request and its response, with a limit for its body |
//! | `failure` | the error for a missing, rejecting or unexpected response |
//! | `authorization`, `oauth` | the header of a login, and tokens that are fetched and kept |
//! | `settings` | URLs and headers of settings; secrets among them |
//! | `web_socket` | the handshake that opens a WebSocket |
//! | `guard` | the check of a request to a listener for operators: its host and its token |
//!
//! A client follows no redirection: the request has a login for one server. Components whose
//! protocol uses redirects, such as WebHDFS, check the target themselves.

mod authorization;
mod connector;
mod exchange;
pub mod failure;
mod guard;
pub mod oauth;
pub mod settings;
pub mod web_socket;

pub use authorization::{Authorization, basic, bearer, token_of};
pub use connector::Connector;
pub use exchange::{Cause, Client, Lost, Reply, exchange, once, send, shown};
pub use failure::Failure;
pub use guard::Guard;
