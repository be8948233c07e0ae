//! Sends messages to one Firebase project.

use std::sync::Arc;

use aftercare::clock::Env;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};

use super::connection::{ConnectError, Connector, RequestError};
use super::credentials::ServiceAccount;
use super::dial::Dial;
use super::endpoint::Endpoint;
use super::limiter::Limiter;
use super::message::{self, MessageError, Push};
use super::outcome::{Answer, Outcome, classify};
use super::pool::Pool;
use super::token::{TokenError, TokenProvider};

/// How often a message goes out again at once because a connection closed before the server
/// looked at it.
const RESENDS: u32 = 2;

/// FCM over HTTP/2: a pool of connections, an access token and a rate limit.
pub struct Client {
    env: Env,
    tokens: TokenProvider,
    pool: Pool,
    limiter: Limiter,
    uri: Uri,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The project id and the base URL make no URL.
    #[error("the base URL and the project id make no URL")]
    Url(#[from] http::Error),
}

impl Client {
    /// Makes a client; opens nothing yet.
    ///
    /// `limiter` says how fast messages leave, `connections` is the most HTTP/2 connections at once;
    /// `dial` opens what they run over.
    ///
    /// # Errors
    /// When TLS has no root certificates or a URL cannot be built.
    pub fn new(
        account: ServiceAccount,
        base: Endpoint,
        env: Env,
        limiter: Limiter,
        connections: usize,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, ClientError> {
        let uri = base.join(&format!("/v1/projects/{}/messages:send", account.project_id()))?;
        let connector = Connector::new(base, Arc::clone(&dial))?;
        let pool = Pool::new(env.clone(), connector, limiter.rate(), connections);
        let token_connector = Connector::new(account.token_uri().clone(), dial)?;
        let token_pool = Pool::new(env.clone(), token_connector, None, 1);
        let tokens = TokenProvider::new(account, env.clone(), token_pool)?;
        Ok(Self { env, tokens, pool, limiter, uri })
    }

    /// Makes sure that there is an access token, before anything is claimed that needs one.
    ///
    /// # Errors
    /// Says why there is none.
    pub async fn authenticate(&self) -> Result<(), TokenError> {
        self.tokens.token().await.map(drop)
    }

    /// Open connections to FCM.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.pool.connections()
    }

    /// How many messages may be under way, so that each leaves within a second, as things stand: as many as leave in
    /// that time and until FCM answers. At least one.
    #[must_use]
    pub fn most_under_way(&self) -> usize {
        let Some(per_second) = self.limiter.pace() else { return usize::MAX };
        let rtt = self.pool.rtt_seconds().unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a float that is too large becomes the largest integer"
        )]
        ((per_second * (1.0 + rtt)) as usize).max(1)
    }

    /// Sends one message: waits for its turn, for a free stream and for a token, looks at the
    /// clock once more, and only then writes and sends it.
    ///
    /// `still_wanted` is asked before it waits and at that last moment; `None` comes back when it says no or when the
    /// use-by has passed. After a 401 the token is refreshed once and the message goes out again.
    pub async fn send(&self, push: &Push<'_>, still_wanted: impl Fn() -> bool) -> Option<Answer> {
        let mut refreshed = false;
        let mut resends = 0;
        loop {
            match self.attempt(push, &still_wanted).await? {
                Attempt::NotProcessed if resends < RESENDS => resends += 1,
                Attempt::NotProcessed => {
                    return Some(Answer::unanswered(
                        "connection-closed",
                        "closed before processing",
                    ));
                }
                Attempt::TokenRefused(_) if !refreshed => refreshed = true,
                Attempt::TokenRefused(answer) | Attempt::Done(answer) => {
                    return Some(answer.without(push.address));
                }
            }
        }
    }

    async fn attempt(&self, push: &Push<'_>, still_wanted: &impl Fn() -> bool) -> Option<Attempt> {
        if !self.limiter.turn(still_wanted).await {
            return None;
        }
        let token = match self.tokens.token().await {
            Ok(token) => token,
            Err(error) => return Some(Attempt::Done(without_token(&error))),
        };
        let stream = match self.pool.stream().await {
            Ok(stream) => stream,
            Err(error) => {
                let answer = Answer::unanswered("unreachable", error.to_string());
                return Some(Attempt::Done(answer));
            }
        };
        if !still_wanted() {
            return None;
        }
        let body = match message::encode(push, self.env.now()) {
            Ok(body) => body,
            Err(MessageError::PastUseBy) => return None,
            Err(error @ MessageError::TooLarge(_)) => {
                return Some(Attempt::Done(Answer::rejected(
                    "message-too-large",
                    error.to_string(),
                )));
            }
            Err(error @ MessageError::Unwritable(_)) => {
                return Some(Attempt::Done(Answer::rejected(
                    "message-unwritable",
                    error.to_string(),
                )));
            }
        };
        let Ok(request) = self.request(token.bearer(), &body) else {
            return Some(Attempt::Done(Answer::rejected("request-unwritable", "")));
        };
        let answer = match stream.connection().request(request, body).await {
            Ok(response) => {
                self.pool.measured(response.took);
                classify(response.status, &response.headers, &response.body, self.env.now())
            }
            Err(RequestError::NotProcessed) => return Some(Attempt::NotProcessed),
            Err(error @ RequestError::TimedOut) => Answer::unanswered("timeout", error.to_string()),
            Err(error @ RequestError::Broken(_)) => {
                Answer::unanswered("connection-lost", error.to_string())
            }
        };
        if answer.status == Some(401) && answer.outcome == Outcome::CredentialsRefused {
            self.tokens.invalidate(&token);
            return Some(Attempt::TokenRefused(answer));
        }
        Some(Attempt::Done(answer))
    }

    fn request(&self, bearer: HeaderValue, body: &Bytes) -> Result<Request<()>, http::Error> {
        Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))
            .body(())
    }
}

enum Attempt {
    Done(Answer),
    TokenRefused(Answer),
    NotProcessed,
}

fn without_token(error: &TokenError) -> Answer {
    let unanswered = Answer::unanswered("no-access-token", error.to_string());
    match error {
        TokenError::Unavailable(_) => unanswered,
        TokenError::Refused { .. } | TokenError::Signing => {
            Answer { outcome: Outcome::CredentialsRefused, ..unanswered }
        }
    }
}
