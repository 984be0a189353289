//! Access to a container of Azure.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureConfigKey, AzureCredential, MicrosoftAzureBuilder,
    split_sas,
};
use object_store::client::HttpRequest;
use pipeline::{Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

use crate::access::{self, Wrong, check_endpoint, clients, endpoint_of, one_try, variable};
use crate::blobs::Blobs;
use crate::bucket::Bucket;
use crate::provider;
use crate::signatures::Signatures;

/// How a container of Azure is reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// Key of the storage account. Without any of these credentials: their environment variables,
    /// then a workload identity, then the managed identity of the machine.
    #[serde(default)]
    pub account_key: Option<Secret>,
    /// A shared access signature.
    #[serde(default)]
    pub sas_token: Option<Secret>,
    /// Application id of Entra ID, for `tenant_id` and `client_secret`; without these, the id of
    /// the managed identity.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Secret of the application.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// Directory (tenant) of the application.
    #[serde(default)]
    pub tenant_id: Option<String>,
    /// URL of a server instead of the one in `url`, without the container; for an emulator with the
    /// account: `http://localhost:10000/devstoreaccount1`. Default: `AZURE_STORAGE_ENDPOINT`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// TLS of an endpoint that begins with `https://`. Default: the certificate authorities of the
    /// host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

/// Variables that are read if no credentials are set.
const CREDENTIALS: &[&str] = &[
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
];

/// The form of an endpoint.
const EXAMPLE: &str =
    "scheme and host, as in https://account.blob.core.windows.net, and the container in `url`";

/// The account key, as requests are signed with it.
struct Key {
    credential: AzureCredential,
    account: String,
}

fn text(secret: Option<&Secret>) -> Option<String> {
    secret.map(|secret| secret.expose().to_owned())
}

impl Azure {
    /// Checks the settings, without any I/O.
    ///
    /// # Errors
    /// An invalid combination: the setting below `azure`, and the remedy.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        let of_application = [
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("tenant_id", self.tenant_id.is_some()),
        ];
        let is_application = self.client_secret.is_some() || self.tenant_id.is_some();
        if let (true, Some((missing, _))) =
            (is_application, of_application.iter().find(|(_, is_set)| !is_set))
        {
            let problem = "must be set together with `client_id`, `client_secret` and `tenant_id`";
            return Err((missing, problem.into()));
        }
        let ways = [
            ("account_key", self.account_key.is_some()),
            ("sas_token", self.sas_token.is_some()),
            ("client_id", self.client_id.is_some()),
        ];
        let mut set = ways.iter().filter(|(_, is_set)| *is_set);
        if let (Some((one, _)), Some((other, _))) = (set.next(), set.next()) {
            return Err((other, format!("conflicts with `{one}`; remove one of them")));
        }
        let account_key = text(self.account_key.as_ref());
        if account_key.is_some_and(|key| AzureAccessKey::try_new(&key).is_err()) {
            return Err((
                "account_key",
                "must be Base64; copy the key of the storage account".into(),
            ));
        }
        if text(self.sas_token.as_ref()).is_some_and(|token| split_sas(&token).is_err()) {
            let problem = "must be a SAS token, as in sv=...&sp=racwdl&sig=...";
            return Err(("sas_token", problem.into()));
        }
        check_endpoint(self.endpoint.as_deref(), self.tls.as_ref(), true, EXAMPLE)
    }

    /// The container of `container@account.dfs.core.windows.net`.
    ///
    /// # Errors
    /// Settings or environment do not go together.
    pub(crate) fn open(&self, authority: &str, env: &Env) -> Result<Bucket, String> {
        let (container, host) = authority.split_once('@').ok_or(
            "the container is missing; write abfss://container@account.dfs.core.windows.net/path",
        )?;
        let (account, suffix) = host.split_once('.').ok_or(
            "the account is missing in the host name; write \
             abfss://container@account.dfs.core.windows.net/path",
        )?;
        // The same objects by the interface of blobs, which has the conditions.
        let suffix = suffix.strip_prefix("dfs.").map(|rest| format!("blob.{rest}"));
        let suffix = suffix.ok_or(
            "the host is not a storage account host; write for example \
             account.dfs.core.windows.net",
        )?;
        let named = endpoint_of(env, "AZURE_STORAGE_ENDPOINT", true, EXAMPLE)?;
        let endpoint = self
            .endpoint
            .clone()
            .or(named)
            .unwrap_or_else(|| format!("https://{account}.{suffix}"));
        let endpoint = endpoint.trim_end_matches('/');
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(container)
            .with_endpoint(endpoint.to_owned())
            .with_allow_http(true)
            .with_crypto_provider(Arc::new(Signatures))
            .with_retry(one_try());
        let set = [
            (AzureConfigKey::AccessKey, text(self.account_key.as_ref())),
            (AzureConfigKey::SasKey, text(self.sas_token.as_ref())),
            (AzureConfigKey::ClientId, self.client_id.clone()),
            (AzureConfigKey::ClientSecret, text(self.client_secret.as_ref())),
            (AzureConfigKey::AuthorityId, self.tenant_id.clone()),
        ];
        let is_set = set.iter().any(|(_, value)| value.is_some());
        for (key, value) in set {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        let variables = CREDENTIALS.iter().filter(|_| !is_set);
        // These select the identity of the machine, and its endpoint.
        let machine: &[&str] = &["IDENTITY_ENDPOINT", "AZURE_CLIENT_ID"];
        let machine = machine.iter().filter(|_| self.client_id.is_none());
        for name in variables.chain(machine) {
            let key: Result<AzureConfigKey, _> = name.to_ascii_lowercase().parse();
            if let (Ok(key), Some(value)) = (key, variable(env, name)) {
                builder = builder.with_config(key, value);
            }
        }
        let key = builder.get_config_value(&AzureConfigKey::AccessKey);
        let key = key.map(|key| AzureAccessKey::try_new(&key).map(AzureCredential::AccessKey));
        let key = key
            .transpose()
            .map_err(|_| "the account key must be Base64; copy the key of the storage account")?;
        let key = key.map(|credential| Key { credential, account: account.to_owned() });
        let amend = move |request: &mut HttpRequest| never_replaces(key.as_ref(), request);
        let clients = clients(self.tls.as_ref(), &provider::AZURE, env)?.amending(amend);
        let odd_keys = clients.odd_keys();
        let (client, place) = (clients.client(), format!("{endpoint}/{container}"));
        let store = builder.with_http_connector(clients).build();
        let store = store.map(|store| Blobs::new(store, client, account, place));
        access::bucket(store, &provider::AZURE, odd_keys, env)
    }
}

/// Adds the condition, which the library omits at the end of an upload. A signature by the account
/// key covers the header, and is recomputed.
fn never_replaces(key: Option<&Key>, request: &mut HttpRequest) -> object_store::Result<()> {
    let query = request.uri().query().unwrap_or_default();
    if request.method() != Method::PUT || !query.split('&').any(|it| it == "comp=blocklist") {
        return Ok(());
    }
    request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    let Some(Key { credential, account }) = key else { return Ok(()) };
    request.headers_mut().remove(AUTHORIZATION);
    AzureAuthorizer::new(credential, account).with_crypto(&Signatures).try_authorize(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(text.to_owned().into())
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused_with_their_remedy() {
        let name = || Some("name".to_owned());
        let endpoint = |text: &str| Azure { endpoint: Some(text.into()), ..Azure::default() };
        let local = "http://localhost:10000/account";
        for (setting, azure) in [
            ("client_secret", Azure { tenant_id: name(), client_id: name(), ..Azure::default() }),
            ("client_id", Azure { client_secret: secret("s"), ..Azure::default() }),
            (
                "sas_token",
                Azure {
                    account_key: secret("a2V5"),
                    sas_token: secret("sig=a"),
                    ..Azure::default()
                },
            ),
            ("account_key", Azure { account_key: secret("no base64!"), ..Azure::default() }),
            ("sas_token", Azure { sas_token: secret("signature"), ..Azure::default() }),
            ("endpoint", endpoint("localhost:10000")),
            ("tls", Azure { tls: Some(ClientTls::default()), ..endpoint(local) }),
        ] {
            assert_eq!(azure.check().unwrap_err().0, setting);
        }
        assert_eq!(endpoint(local).check(), Ok(()));
        assert_eq!(Azure { client_id: name(), ..Azure::default() }.check(), Ok(()));
    }

    /// With an account key the signature covers the header; other kinds of access do not cover it.
    #[test]
    fn the_end_of_an_upload_never_replaces() {
        let key = AzureAccessKey::try_new("a2V5").unwrap();
        let key = Key { credential: AzureCredential::AccessKey(key), account: "account".into() };
        let request = |query: &str| {
            let uri = format!("https://account.blob.core.windows.net/c/name?{query}");
            let mut request = HttpRequest::new(Vec::new().into());
            (*request.method_mut(), *request.uri_mut()) = (Method::PUT, uri.parse().unwrap());
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("as it was"));
            request
        };
        for (key, query, is_amended) in [
            (Some(&key), "comp=blocklist", true),
            (None, "comp=blocklist&sig=a", true),
            (Some(&key), "comp=block&blockid=1", false),
        ] {
            let mut request = request(query);
            never_replaces(key, &mut request).unwrap();
            assert_eq!(request.headers().contains_key(IF_NONE_MATCH), is_amended, "{query}");
            let is_signed = request.headers()[AUTHORIZATION] != "as it was";
            assert_eq!(is_signed, is_amended && key.is_some(), "{query}");
        }
    }
}
