//! Formats an error with its causes.

/// An error with its causes, in one line. A cause that the text before it ends with is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        let message = without_known_address(&text, &message);
        // hyper's own text adds nothing to its causes.
        if !text.ends_with(message) && message != "client error (Connect)" {
            text.push_str(": ");
            text.push_str(message);
        }
        cause = error.source();
    }
    text
}

/// Returns a message without its leading address, if the text already has that.
fn without_known_address<'a>(text: &str, message: &'a str) -> &'a str {
    let is_address = |word: &str| {
        word.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit())
        })
    };
    match message.split_once(": ") {
        Some((address, rest)) if is_address(address) && text.contains(address) => rest,
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn a_cause_is_named_once() {
        let error = |text| Outer(text, io::Error::other("no route"));
        assert_eq!(chain(&error("cannot connect")), "cannot connect: no route");
        assert_eq!(chain(&error("cannot connect: no route")), "cannot connect: no route");
        let refused = |text| Outer(text, io::Error::other("h:9: refused"));
        assert_eq!(chain(&refused("cannot connect to h:9")), "cannot connect to h:9: refused");
        assert_eq!(chain(&refused("cannot connect to g:9")), "cannot connect to g:9: h:9: refused");
        let hyper = Outer("cannot connect", io::Error::other("client error (Connect)"));
        assert_eq!(chain(&hyper), "cannot connect");
    }
}
