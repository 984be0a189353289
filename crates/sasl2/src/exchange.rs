//! The exchange of SASL's mechanism `GSSAPI` (RFC 4752), on the side of the client. Pure.
//!
//! ```text
//!   client                          broker
//!   token of the context  ───────►
//!                         ◄───────  token of the context      as often as the library wants
//!   (empty)               ───────►
//!                         ◄───────  wrapped: layers it has, and the size of a buffer
//!   wrapped: layer "none" ───────►
//! ```

use crate::problem::Problem;

/// The security layer "none": what follows is as it was sent. Kafka has no other one; TLS is what
/// protects a connection.
const NONE: u8 = 1;

/// A context of GSSAPI.
pub(crate) trait Context {
    /// Takes a token of the other side, and gives the next one; whether the context is there.
    fn step(&mut self, token: Option<&[u8]>) -> Result<(Vec<u8>, bool), Problem>;
    /// Proves a message, and gives what is in it.
    fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem>;
    /// A message that the other side can prove.
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem>;
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Token,
    Layer,
    Nothing,
}

/// One exchange.
pub(crate) struct Exchange<C> {
    context: C,
    next: Next,
}

impl<C: Context> Exchange<C> {
    /// The exchange, and what is sent first.
    pub(crate) fn begin(mut context: C) -> Result<(Self, Vec<u8>), Problem> {
        let (token, is_there) = context.step(None)?;
        let next = if is_there { Next::Layer } else { Next::Token };
        Ok((Self { context, next }, token))
    }

    /// What is sent upon this, and whether it is the last one.
    pub(crate) fn answer(&mut self, said: &[u8]) -> Result<(Vec<u8>, bool), Problem> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Token => {
                let (token, is_there) = self.context.step(Some(said))?;
                self.next = if is_there { Next::Layer } else { Next::Token };
                Ok((token, false))
            }
            Next::Layer => {
                let layers = self.context.unwrap(said)?;
                match *layers {
                    [layers, _, _, _] if layers & NONE != 0 => {
                        // No size, as nothing is wrapped, and no user but the one of the ticket.
                        Ok((self.context.wrap(&[NONE, 0, 0, 0])?, true))
                    }
                    _ => Err(Problem::Layers),
                }
            }
            Next::Nothing => Err(Problem::Order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wants so many tokens, and marks what is wrapped.
    struct Scripted(usize);

    impl Context for Scripted {
        fn step(&mut self, token: Option<&[u8]>) -> Result<(Vec<u8>, bool), Problem> {
            let token = [b"token after ", token.unwrap_or(b"nothing")].concat();
            self.0 -= 1;
            Ok((if self.0 == 0 { Vec::new() } else { token }, self.0 == 0))
        }

        fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem> {
            message.strip_prefix(b"wrapped ").map(<[u8]>::to_vec).ok_or(Problem::Order)
        }

        fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem> {
            Ok([b"wrapped ", message].concat())
        }
    }

    #[test]
    fn exchanges_tokens_until_the_context_exists_then_selects_no_layer() {
        let (mut exchange, first) = Exchange::begin(Scripted(3)).unwrap();
        assert_eq!(first, b"token after nothing");
        assert_eq!(exchange.answer(b"a").unwrap(), (b"token after a".to_vec(), false));
        assert_eq!(exchange.answer(b"b").unwrap(), (Vec::new(), false));
        let last = exchange.answer(b"wrapped \x07\x00\xff\xff").unwrap();
        assert_eq!(last, (b"wrapped \x01\0\0\0".to_vec(), true));
        assert!(matches!(exchange.answer(b"more"), Err(Problem::Order)));
    }

    #[test]
    fn a_broker_that_wants_its_messages_wrapped_or_proves_nothing_is_refused() {
        let others: [&[u8]; 4] =
            [b"wrapped \x06\x00\xff\xff", b"wrapped \x01", b"wrapped ", b"\x01\0\0\0"];
        for said in others {
            let (mut exchange, _) = Exchange::begin(Scripted(1)).unwrap();
            assert!(exchange.answer(said).is_err(), "{said:?}");
            // And it stays so.
            assert!(exchange.answer(b"wrapped \x01\0\0\0").is_err(), "{said:?}");
        }
    }
}
