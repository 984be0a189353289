//! New origins of the channel are bound to the name that this sink shows to the next agent.

use pipeline::{BuildContext, BuildError, OriginName};
use tls::ClientTls;
use tracing::warn;

/// Says to the channel how the name in the certificate of `tls` is read.
pub(super) fn know_name(tls: &ClientTls, cx: &BuildContext) -> Result<(), BuildError> {
    let (read, env, sink) = (tls.own_name()?, cx.env.clone(), cx.name.clone());
    cx.get::<OriginName>().is_read_by(move || match read(&env) {
        Ok(name) => name,
        Err(error) => {
            warn!(
                %sink, %error,
                "a new origin is bound to no certificate, and a next agent that requires it \
                 refuses it: see `aqueduct channel renew --name`",
            );
            None
        }
    });
    Ok(())
}
