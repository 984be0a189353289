//! The differences between the providers of buckets, as data.

use std::fmt;

/// One provider.
pub(crate) struct Provider {
    /// True if the server can copy an object of any size only to a free name.
    pub(crate) copies_inside: bool,
    /// The condition that prevents replacing.
    pub(crate) condition: &'static str,
    /// The servers that observe it.
    pub(crate) heeded_by: &'static str,
    /// The remedy for missing credentials.
    pub(crate) no_credentials: &'static str,
    /// The remedy for a refused request.
    pub(crate) refused: &'static str,
    /// The remedy for a missing bucket.
    pub(crate) no_bucket: &'static str,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

pub(crate) static S3: Provider = Provider {
    copies_inside: true,
    condition: "`If-None-Match: *`",
    heeded_by: "Amazon S3 supports it since 2024",
    no_credentials: "no access key found: set `s3.access_key` and `s3.secret_key`, or the \
                     variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach an IAM role \
                     to the machine",
    refused: "check `s3.access_key`, `s3.secret_key` and the permissions of the key: it needs \
              s3:GetObject, PutObject, DeleteObject, ListBucket and AbortMultipartUpload; check \
              the clock of this host too",
    no_bucket: "the bucket does not exist: create it, or correct `url`",
};

pub(crate) static GCS: Provider = Provider {
    copies_inside: false,
    condition: "`ifGenerationMatch=0`",
    heeded_by: "Google Cloud Storage supports it",
    no_credentials: "no account found: set `gcs.key_file`, or the variable \
                     GOOGLE_APPLICATION_CREDENTIALS, or attach a service account to the machine",
    refused: "check `gcs.key_file`, or the account of this machine, and its permissions: it needs \
              storage.objects.get, create, delete and list, as in the role \
              roles/storage.objectUser; check the clock of this host too",
    no_bucket: "the bucket does not exist: create it, or correct `url`",
};

pub(crate) static AZURE: Provider = Provider {
    copies_inside: false,
    condition: "`If-None-Match: *`",
    heeded_by: "Azure Blob Storage supports it",
    no_credentials: "no credentials found: set `azure.account_key`, `azure.sas_token` or \
                     `azure.client_secret`, or one of the variables AZURE_STORAGE_ACCOUNT_KEY, \
                     AZURE_STORAGE_SAS_TOKEN and AZURE_CLIENT_SECRET, or assign a managed identity \
                     to the machine",
    refused: "check the credentials in `azure` and their permissions: a SAS token needs racwdl on \
              the container, an identity needs the role Storage Blob Data Contributor; check the \
              clock of this host too",
    no_bucket: "the container does not exist: create it, or correct `url`",
};
