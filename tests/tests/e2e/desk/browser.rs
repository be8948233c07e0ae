//! What stands in for a browser, and the people who sit before it.

use aftercare_api::{NewClinic, add_staff};
use secrecy::ExposeSecret as _;

use crate::http::{Answer, Body, Http};
use crate::stage::Stage;

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A browser without scripts: it keeps the cookie and says where its forms come from.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) http: Http,
    pub(crate) cookie: String,
}

fn form(pairs: &[(&str, &str)]) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let pair = |(name, value): &(&str, &str)| {
        let value: String = value.bytes().map(byte).collect();
        format!("{name}={value}")
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

impl Browser {
    pub(crate) fn new(http: Http) -> Self {
        Self { http, cookie: String::new() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let headers = [("cookie".to_owned(), format!("other=1; desk={}", self.cookie))];
        self.http.call("GET", path, None, Body::Raw { headers: &headers, text: "" }).await
    }

    pub(crate) async fn post_from(
        &self,
        origin: &str,
        path: &str,
        pairs: &[(&str, &str)],
    ) -> Answer {
        let headers = [
            ("cookie".to_owned(), format!("desk={}", self.cookie)),
            ("origin".to_owned(), origin.to_owned()),
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ];
        let body = Body::Raw { headers: &headers, text: &form(pairs) };
        self.http.call("POST", path, None, body).await
    }

    pub(crate) async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.post_from(&format!("http://{}", self.http.0), path, pairs).await
    }

    /// Keeps the cookie of an answer that lets somebody in.
    pub(crate) fn entered(mut self, answer: &Answer) -> Self {
        assert_eq!((answer.status, answer.header("location")), (303, Some("/desk")), "{answer:?}");
        let cookie = answer.original("set-cookie").unwrap();
        let (value, flags) = cookie.split_once("; ").unwrap();
        assert_eq!(flags, "Path=/; HttpOnly; SameSite=Strict");
        value.strip_prefix("desk=").unwrap().clone_into(&mut self.cookie);
        self
    }

    pub(crate) async fn sign_in(http: Http, name: &str, password: &str) -> Answer {
        Self::new(http).post("/desk/sign-in", &[("name", name), ("password", password)]).await
    }

    /// The page of a path, once there is one.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    pub(crate) async fn is_out(&self) -> bool {
        let answer = self.get("/desk").await;
        let to = answer.header("location").map(str::to_owned);
        assert!(matches!(answer.status, 200 | 303), "{answer:?}");
        answer.status == 303 && to.as_deref() == Some("/desk/sign-in")
    }

    /// What the forms of this sign-in carry.
    pub(crate) async fn token(&self) -> String {
        let page = self.page("/desk").await;
        let (_, token) = page.split_once("name=\"csrf\" value=\"").unwrap();
        token.split_once('"').unwrap().0.to_owned()
    }

    /// Fills the form of a page that goes to `action`, its hidden fields included.
    pub(crate) async fn submit(&self, page: &str, action: &str, filled: &[(&str, &str)]) -> Answer {
        let form = page.split_once(&format!("action=\"{action}\""));
        let (_, form) = form.unwrap_or_else(|| panic!("no form goes to {action}"));
        let (form, _) = form.split_once("</form>").unwrap();
        let hidden = form.split("type=\"hidden\"").skip(1).map(|field| {
            let value = |name: &str| {
                let (_, from) = field.split_once(&format!("{name}=\"")).unwrap();
                from.split_once('"').unwrap().0.to_owned()
            };
            (value("name"), value("value"))
        });
        let hidden: Vec<(String, String)> = hidden.collect();
        let mut pairs: Vec<(&str, &str)> =
            hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.extend_from_slice(filled);
        self.post(action, &pairs).await
    }
}

impl Stage {
    /// Somebody at the clinic's desk, signed in.
    pub(crate) async fn at_the_desk(&self, name: &str) -> Browser {
        self.at_the_desk_of(&self.clinic, name).await
    }

    /// Somebody at another clinic's desk.
    pub(crate) async fn at_the_desk_of(&self, clinic: &NewClinic, name: &str) -> Browser {
        let added = add_staff(&self.bed.store, clinic.clinic_id, name).await.unwrap();
        self.join(added.invitation.expose_secret()).await
    }

    pub(crate) async fn join(&self, invitation: &str) -> Browser {
        let path = format!("/desk/join/{invitation}");
        let browser = Browser::new(self.http);
        let filled = [("password", PASSWORD), ("again", PASSWORD)];
        let answer = browser.submit(&browser.page(&path).await, &path, &filled).await;
        browser.entered(&answer)
    }
}

/// The part of a patient's page on which microneedling is recorded.
pub(crate) fn microneedling(page: &str) -> &str {
    page.split_once("id=\"microneedling\"").unwrap().1
}

/// The treatment that a page was opened for.
pub(crate) fn treatment_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.original("location").unwrap().strip_prefix("/desk/treatment?id=").unwrap().to_owned()
}
