//! A text with headers of the event, such as `logs.%{site}`, from which sinks build topics,
//! subjects and keys. Pure.

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// The value of this header.
    Header(String),
}

/// A text with placeholders for headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Fails if a `%{` has no end, or an empty name.
    pub fn new(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once("%{") {
            let (name, behind) = behind.split_once('}').ok_or("a `%{` has no `}`")?;
            if name.is_empty() {
                return Err("`%{}` has no header name".into());
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Header(name.to_owned()));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Returns its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Returns true if it contains a header of the event.
    pub fn has_headers(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Header(_)))
    }

    /// Returns the text with the result of `value` for each header.
    ///
    /// # Errors
    /// Returns the error of `value`.
    pub fn with<'a, E>(
        &'a self,
        mut value: impl FnMut(&'a str) -> Result<&'a str, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Header(name) => value(name)?,
            });
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stand_in_the_text_and_what_names_none_is_refused() {
        let template = Template::new("a.%{site}.%{app}b").unwrap();
        let text = template.with(|name| if name == "app" { Err(name) } else { Ok("x") });
        assert_eq!(text, Err("app"));
        assert!(template.has_headers() && !Template::new("a.b").unwrap().has_headers());
        assert_eq!(template.with(|_| Ok::<_, ()>("x")), Ok("a.x.xb".to_owned()));
        assert_eq!(Template::new("").unwrap().with(|_| Err(())), Ok(String::new()));
        assert!(Template::new("%{a").unwrap_err().contains("has no `}`"));
        assert!(Template::new("%{}").unwrap_err().contains("has no header name"));
    }
}
