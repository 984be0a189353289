//! Authentication of a client.
//!
//! ```text
//!   user, password   user and pass in CONNECT
//!   token            auth_token
//!   nkey_seed        nkey, the public key;   sig: the nonce of INFO, signed by the seed
//!   credentials      jwt, of the file;       sig: the nonce of INFO, signed by the file's seed
//! ```

mod file;
mod nkey;

use std::path::PathBuf;
use std::sync::Arc;

use pipeline::env::Env;
use pipeline::{BuildError, Secret, secret};
use tls::SecretFileError;

use file::File;
use nkey::Pair;

/// Settings of a login.
pub(crate) struct Settings {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) token: Option<Secret>,
    pub(crate) nkey_seed: Option<Secret>,
    pub(crate) credentials: Option<PathBuf>,
}

/// Method of authentication. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Login {
    /// None, or the TLS certificate.
    None,
    User(secret::Login),
    Token(Secret),
    Nkey(Arc<Pair>),
    File(File),
}

/// Reason why authentication is impossible.
#[derive(Debug)]
pub(crate) enum LoginError {
    File(SecretFileError),
    /// The server sends no challenge to sign.
    NoNonce,
}

/// Authentication data for a server.
pub(crate) struct Credentials {
    /// Fields of `CONNECT`.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Advice for a refusal by the server.
    pub(crate) remedy: String,
}

impl Login {
    /// Creates it from the settings.
    ///
    /// # Errors
    /// Fails if a setting is invalid, or several methods are set.
    pub(crate) fn from_settings(settings: Settings) -> Result<Self, BuildError> {
        let Settings { user, password, token, nkey_seed, credentials } = settings;
        let set = [
            ("user", user.is_some()),
            ("token", token.is_some()),
            ("nkey_seed", nkey_seed.is_some()),
            ("credentials", credentials.is_some()),
        ];
        let mut set = set.into_iter().filter_map(|(setting, is_set)| is_set.then_some(setting));
        if let (Some(one), Some(other)) = (set.next(), set.next()) {
            let problem = format!("set only one of `server.{one}` and `server.{other}`");
            return Err(BuildError::invalid(other, problem));
        }
        let user = secret::login(user, password)?;
        let pair = nkey_seed.map(|seed| Pair::of_seed(seed.expose()));
        let pair = pair.transpose().map_err(|problem| BuildError::invalid("nkey_seed", problem))?;
        Ok(match (user, token, pair, credentials) {
            (Some(user), ..) => Self::User(user),
            (_, Some(token), ..) => Self::Token(token),
            (_, _, Some(pair), _) => Self::Nkey(Arc::new(pair)),
            (_, _, _, Some(path)) => Self::File(File::new(&path)),
            _ => Self::None,
        })
    }

    /// Returns the data for a server with this challenge.
    ///
    /// # Errors
    /// Fails if there is no credential, or no challenge.
    pub(crate) async fn shown(
        &self,
        nonce: Option<&str>,
        env: &Env,
    ) -> Result<Credentials, LoginError> {
        let signs = match nonce {
            Some(_) => {
                "; the server also accepts NKeys or JWTs: `server.nkey_seed`, `server.credentials`"
            }
            None => "",
        };
        let (fields, remedy) = match self {
            Self::None => {
                let remedy = match nonce {
                    Some(_) => {
                        "set the login that the server requires: `server.nkey_seed`, \
                         `server.credentials`, `server.user` or `server.token`"
                    }
                    None => "set `server.user` and `server.password`, or `server.token`",
                };
                (vec![], remedy.to_owned())
            }
            Self::User((user, password)) => {
                let password = password.as_ref().map(Secret::expose).unwrap_or_default().to_owned();
                let remedy = format!("check `server.user` and `server.password`{signs}");
                (vec![("user", user.clone()), ("pass", password)], remedy)
            }
            Self::Token(token) => {
                let remedy = format!("check `server.token`{signs}");
                (vec![("auth_token", token.expose().to_owned())], remedy)
            }
            Self::Nkey(pair) => {
                let sig = pair.sign(nonce.ok_or(LoginError::NoNonce)?);
                let remedy = format!(
                    "add a user with the `nkey` `{}` (of `server.nkey_seed`) to the server; a \
                     server in operator mode needs `server.credentials` instead",
                    pair.public()
                );
                (vec![("nkey", pair.public().to_owned()), ("sig", sig)], remedy)
            }
            Self::File(file) => {
                let nonce = nonce.ok_or(LoginError::NoNonce)?;
                let (file, disk) = (file.clone(), env.disk.clone());
                let read = env.offload(move || file.read(&*disk)).await;
                let read = read.map_err(LoginError::File)?;
                let remedy = read.remedy(env.clock.now());
                let sig = read.pair.sign(nonce);
                (vec![("jwt", read.jwt), ("sig", sig)], remedy)
            }
        };
        Ok(Credentials { fields, remedy })
    }
}

#[cfg(test)]
mod tests {
    use super::nkey::tests::{PUBLIC, PUBLISHED};
    use super::*;

    const NONE: Settings =
        Settings { user: None, password: None, token: None, nkey_seed: None, credentials: None };

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::from(text.to_owned()))
    }

    #[test]
    fn two_logins_and_a_seed_that_is_none_are_refused_by_their_settings() {
        let (user, credentials) = (Some("u".to_owned()), Some(PathBuf::from("u.creds")));
        let seed = || secret(PUBLISHED);
        for (settings, setting, problem) in [
            (Settings { user: user.clone(), token: secret("t"), ..NONE }, "token", "`server.user`"),
            (Settings { user, nkey_seed: seed(), ..NONE }, "nkey_seed", "`server.user`"),
            (
                Settings { nkey_seed: seed(), credentials, ..NONE },
                "credentials",
                "`server.nkey_seed` and `server.credentials`",
            ),
            (Settings { password: secret("p"), ..NONE }, "password", "only with `user`"),
            (Settings { nkey_seed: secret("SUAB"), ..NONE }, "nkey_seed", "starts with `SU`"),
        ] {
            let error = Login::from_settings(settings).err().unwrap();
            assert_eq!(error.setting, setting);
            assert!(error.problem.contains(problem), "{}", error.problem);
        }
    }

    #[tokio::test]
    async fn sends_the_requested_login_and_needs_a_nonce_to_sign() {
        let env = env::real();
        let shown = async |settings, nonce| {
            Login::from_settings(settings).unwrap().shown(nonce, &env).await
        };
        let nkey = || Settings { nkey_seed: secret(PUBLISHED), ..NONE };
        let fields = shown(nkey(), Some("nonce")).await.unwrap().fields;
        // Ed25519 signature with the key of `PUBLISHED`, computed by another library.
        let signature = "AVfpO7Pw3rc56hoO1OJcFxXUCfBmO2qouchBchSlL45\
                         Fuur9zS15UzytEI1QC5wwVG7uiHIdqyfmOS6uPrwqCg";
        assert_eq!(fields, [("nkey", PUBLIC.to_owned()), ("sig", signature.to_owned())]);
        assert!(matches!(shown(nkey(), None).await.err(), Some(LoginError::NoNonce)));
        for (settings, nonce, remedy) in [
            (nkey(), Some("n"), PUBLIC),
            (NONE, Some("n"), "`server.nkey_seed`, `server.credentials`, `server.user`"),
            (NONE, None, "set `server.user`"),
            (Settings { token: secret("t"), ..NONE }, None, "check `server.token`"),
            (Settings { token: secret("t"), ..NONE }, Some("n"), "accepts NKeys or JWTs"),
        ] {
            let said = shown(settings, nonce).await.unwrap().remedy;
            assert!(said.contains(remedy), "{said}");
        }
    }
}
