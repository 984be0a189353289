//! Binds new origins of the channel to the name that this sink proves to the downstream agent: the
//! name in its certificate, or else the name of its token.

use std::error::Error;

use pipeline::env::Env;
use pipeline::{BuildContext, BuildError, OriginName};
use tls::{ClientTls, TokenFile};
use tracing::warn;

/// Passes the channel a function that reads the name.
pub(super) fn know_name(
    tls: Option<&ClientTls>,
    token: Option<&TokenFile>,
    cx: &BuildContext,
) -> Result<(), BuildError> {
    let certified = tls.map(ClientTls::own_name).transpose()?;
    if certified.is_none() && token.is_none() {
        return Ok(());
    }
    let (token, env, sink) = (token.cloned(), cx.env.clone(), cx.name.clone());
    let read = move |env: &Env| -> Result<Option<String>, Box<dyn Error>> {
        if let Some(read) = &certified
            && let Some(name) = read(env)?
        {
            return Ok(Some(name));
        }
        let token = token.as_ref().map(|file| file.read(&*env.disk)).transpose()?;
        Ok(token.map(|token| token.name.to_string()))
    };
    cx.get::<OriginName>().is_read_by(move || match read(&env) {
        Ok(name) => name,
        Err(error) => {
            warn!(
                %sink, %error,
                "cannot read this agent's name from its certificate or token file, so its batches \
                 carry no name; next agents with `origins = \"require\"` reject them: fix `error`, \
                 then stop the agent and run `aqueduct channel renew DATA_DIR/channels/CHANNEL \
                 --name NAME`",
            );
            None
        }
    });
    Ok(())
}
