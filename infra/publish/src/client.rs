//! Publishing as a client does it: over HTTP only.

use anyhow::Context as _;
use domain::token::TokenSecret;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A file to publish.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl File {
    /// What a publisher declares of the file.
    pub fn declaration(&self) -> Value {
        let sha256: String = Sha256::digest(&self.bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({"name": self.name, "size": self.bytes.len(), "sha256": sha256})
    }
}

/// A publisher of one organization.
#[derive(Clone, Debug)]
pub struct Publisher {
    http: Client,
    api_url: String,
    token: TokenSecret,
}

impl Publisher {
    /// A publisher that calls the API there, on loopback.
    pub fn new(api_url: &str, token: TokenSecret) -> anyhow::Result<Self> {
        // Whatever proxy the environment names; and there is no TLS.
        let http = Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self::through(http, api_url, token))
    }

    /// A publisher that calls the API there through this client.
    pub fn through(http: Client, api_url: &str, token: TokenSecret) -> Self {
        Self {
            http,
            api_url: api_url.to_owned(),
            token,
        }
    }

    /// Publishes a report: declares it, uploads its files, completes it. Gives the answer to the last step.
    pub async fn publish(&self, metadata: &Value, files: &[File]) -> anyhow::Result<Value> {
        let upload = expect(self.begin(metadata, files).await?, &[StatusCode::CREATED]).await?;
        self.upload(&upload, files).await?;
        let id = upload["uploadId"]
            .as_str()
            .context("the answer has no uploadId")?;
        expect(
            self.complete(id).await?,
            &[StatusCode::CREATED, StatusCode::OK],
        )
        .await
    }

    /// The first step: `metadata` is the body without `files`.
    pub async fn begin(&self, metadata: &Value, files: &[File]) -> anyhow::Result<Response> {
        Ok(self
            .declaring(metadata, files)
            .send()
            .await
            .map_err(reqwest::Error::without_url)?)
    }

    /// The same, which may be repeated with this key: it counts once, and gives the same upload again.
    pub async fn begin_once(
        &self,
        metadata: &Value,
        files: &[File],
        key: &str,
    ) -> anyhow::Result<Response> {
        let request = self.declaring(metadata, files);
        let sent = request.header("idempotency-key", key).send().await;
        Ok(sent.map_err(reqwest::Error::without_url)?)
    }

    fn declaring(&self, metadata: &Value, files: &[File]) -> RequestBuilder {
        let mut body = metadata.clone();
        body["files"] = files.iter().map(File::declaration).collect();
        let request = self
            .http
            .post(format!("{}/security/report", self.api_url))
            .bearer_auth(self.token.reveal());
        request.json(&body)
    }

    /// The second step: PUTs each file where the answer to the first step says.
    pub async fn upload(&self, upload: &Value, files: &[File]) -> anyhow::Result<()> {
        for (target, file) in upload["files"]
            .as_array()
            .context("the answer has no files")?
            .iter()
            .zip(files)
        {
            let response = self.put(target, file.bytes.clone()).await?;
            anyhow::ensure!(
                response.status().is_success(),
                "PUT {}: {}",
                file.name,
                response.text().await?
            );
        }
        Ok(())
    }

    /// PUTs bytes to one of the addresses in the answer to the first step.
    pub async fn put(&self, target: &Value, bytes: Vec<u8>) -> anyhow::Result<Response> {
        let mut request = self
            .http
            .put(target["url"].as_str().context("a file has no url")?);
        for (name, value) in target["headers"]
            .as_object()
            .context("a file has no headers")?
        {
            request = request.header(name, value.as_str().context("a header is no text")?);
        }
        // Its signature is in the address.
        let sent = request.body(bytes).send().await;
        Ok(sent.map_err(reqwest::Error::without_url)?)
    }

    /// The last step.
    pub async fn complete(&self, upload_id: &str) -> anyhow::Result<Response> {
        let url = format!(
            "{}/security/report/uploads/{upload_id}/complete",
            self.api_url
        );
        Ok(self
            .http
            .post(url)
            .bearer_auth(self.token.reveal())
            .send()
            .await
            .map_err(reqwest::Error::without_url)?)
    }
}

async fn expect(response: Response, statuses: &[StatusCode]) -> anyhow::Result<Value> {
    let status = response.status();
    let text = response.text().await?;
    anyhow::ensure!(
        statuses.contains(&status),
        "the API answered {status}: {text}"
    );
    Ok(serde_json::from_str(&text)?)
}
