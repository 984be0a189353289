//! The routing key of an event, made of its headers: `logs.%{site}`.

use pipeline::EventRef;

use crate::broker::NAME_BYTES_MAX;

/// A routing key with the names of headers in it.
#[derive(Debug)]
pub(super) struct RoutingKey(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Header(String),
}

impl RoutingKey {
    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once("%{") {
            let (name, behind) = behind.split_once('}').ok_or("a `%{` has no `}`")?;
            if name.is_empty() {
                return Err("`%{}` names no header".into());
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Header(name.to_owned()));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let fixed = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Header(_) => 0,
        };
        match pieces.iter().map(fixed).sum() {
            0..=NAME_BYTES_MAX => Ok(Self(pieces)),
            many => Err(format!("has {many} bytes; AMQP takes {NAME_BYTES_MAX} at most")),
        }
    }

    /// That of an event.
    ///
    /// # Errors
    /// A header is missing, or it is too long.
    pub(super) fn of(&self, event: EventRef<'_>) -> Result<String, String> {
        let mut key = String::new();
        for piece in &self.0 {
            key.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Header(name) => event.header(name).ok_or_else(|| {
                    format!("there is no header `{name}`, which `routing_key` names")
                })?,
            });
        }
        match key.len() {
            0..=NAME_BYTES_MAX => Ok(key),
            many => Err(format!("its routing key has {many} bytes, over {NAME_BYTES_MAX}")),
        }
    }
}
