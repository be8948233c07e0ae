//! The extractors that handlers take, and what they demand of a request before they read it.
//!
//! actix runs all extractors of a handler at once. These only hold on to the request, so that nothing is
//! read, and no fault told, before the caller is known.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Fields, Place, json, kind};
use crate::problem::{Code, Fault, Problem};
use crate::state::Api;

/// Something that is read from an object of fields.
pub trait FromFields: Sized {
    /// Reads every field, noting each fault; `None` only when a fault was noted.
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self>;
}

/// The body of a request that says everything with its address: absent, or an object without fields.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl FromFields for Nothing {
    fn from_fields(_: &mut Fields<'_>) -> Option<Self> {
        Some(Self {})
    }
}

/// A JSON body that is still to be read, which a handler does once it knows who calls.
pub struct Body<T> {
    request: HttpRequest,
    payload: Payload,
    read: PhantomData<T>,
}

/// A query string that is still to be read.
pub struct Query<T> {
    request: HttpRequest,
    read: PhantomData<T>,
}

/// The fields of an `application/x-www-form-urlencoded` body, in the order they came.
#[derive(Clone)]
pub struct Form(pub Vec<(String, String)>);

impl<T: FromFields> Body<T> {
    /// Reads the body whole, or says every fault of it.
    ///
    /// # Errors
    /// 415 for another media type, 413 for one that is too large, 408 for one that is too slow, 400 for
    /// what is not JSON, 422 for fields that are not right.
    pub async fn read(self) -> Result<T, Problem> {
        demand_media_type(&self.request, "application/json")?;
        let bytes = body_bytes(&self.request, self.payload).await?;
        read_body(&bytes)
    }

    /// Reads a body that is a list of at most `most` such objects, or says every fault of it.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub async fn read_list(self, most: usize) -> Result<Vec<T>, Problem> {
        demand_media_type(&self.request, "application/json")?;
        let bytes = body_bytes(&self.request, self.payload).await?;
        from_list(&json::array(&bytes)?, most)
    }
}

impl Body<Map<String, Value>> {
    /// Reads a body that is an object with a reader of its own.
    ///
    /// # Errors
    /// As [`Body::read`]; its fields are not looked at.
    pub async fn read_raw(self) -> Result<Map<String, Value>, Problem> {
        demand_media_type(&self.request, "application/json")?;
        json::object(&body_bytes(&self.request, self.payload).await?)
    }
}

impl Body<Nothing> {
    /// Reads a body that may be absent and has no fields.
    ///
    /// # Errors
    /// As [`Body::read`], for a body that is there.
    pub async fn read_nothing(self) -> Result<(), Problem> {
        let bytes = body_bytes(&self.request, self.payload).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        demand_media_type(&self.request, "application/json")?;
        read_object::<Nothing>(&json::object(&bytes)?)?;
        Ok(())
    }
}

/// Reads the bytes of a JSON body.
///
/// # Errors
/// 400 for what is not JSON, 422 for fields that are not right.
pub fn read_body<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    read_object(&json::object(bytes)?)
}

/// Parses bytes that may be any JSON.
///
/// # Errors
/// 400 for what is not JSON.
pub(crate) fn read_json(bytes: &[u8]) -> Result<Value, Problem> {
    json::value(bytes, "object")
}

/// Reads an object that is parsed already.
///
/// # Errors
/// 422 for fields that are not right.
pub(crate) fn read_object<T: FromFields>(object: &Map<String, Value>) -> Result<T, Problem> {
    from_object(object, Place::Object(String::new()))
}

impl<T> FromRequest for Body<T> {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take(), read: PhantomData }))
    }
}

impl<T: FromFields> Query<T> {
    /// Reads the query string whole, or says every fault of it.
    ///
    /// # Errors
    /// 422 for parameters that are not right, 400 for what is no query string.
    pub fn read(&self) -> Result<T, Problem> {
        read_query(self.request.query_string())
    }
}

impl<T> FromRequest for Query<T> {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), read: PhantomData }))
    }
}

/// Reads a query string.
///
/// # Errors
/// As [`Query::read`].
pub(crate) fn read_query<T: FromFields>(text: &str) -> Result<T, Problem> {
    let mut object = Map::new();
    let mut repeated = Vec::new();
    for (name, value) in pairs(text.as_bytes())? {
        if object.contains_key(&name) {
            let pointer = format!("?{name}");
            repeated.push(Fault { pointer, detail: "must come once".to_owned() });
        }
        object.insert(name, Value::String(value));
    }
    if repeated.is_empty() {
        from_object(&object, Place::Query)
    } else {
        Err(Problem::fields(repeated))
    }
}

fn from_object<T: FromFields>(object: &Map<String, Value>, place: Place) -> Result<T, Problem> {
    let mut faults = Vec::new();
    let mut fields = Fields::new(object, place, &mut faults);
    let read = T::from_fields(&mut fields);
    fields.finish();
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        _ => Err(Problem::fields(faults)),
    }
}

fn from_list<T: FromFields>(items: &[Value], most: usize) -> Result<Vec<T>, Problem> {
    let mut faults = Vec::new();
    if items.len() > most {
        let detail = format!("must have at most {most} items");
        return Err(Problem::fields(vec![Fault { pointer: String::new(), detail }]));
    }
    let mut read = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let pointer = format!("/{index}");
        let Value::Object(object) = item else {
            let detail = format!("must be an object, not {}", kind(item));
            faults.push(Fault { pointer, detail });
            continue;
        };
        let mut fields = Fields::new(object, Place::Object(pointer), &mut faults);
        read.extend(T::from_fields(&mut fields));
        fields.finish();
    }
    if faults.is_empty() { Ok(read) } else { Err(Problem::fields(faults)) }
}

/// Reads a form, or says why it cannot be read.
///
/// # Errors
/// 415 for another media type, 413 for one that is too large, 408 and 400 as they come.
pub(crate) async fn form(request: &HttpRequest, payload: Payload) -> Result<Form, Problem> {
    demand_media_type(request, "application/x-www-form-urlencoded")?;
    let bytes = body_bytes(request, payload).await?;
    read_form(&bytes)
}

/// Parses a form's bytes.
///
/// # Errors
/// 400 when the bytes are no form.
pub(crate) fn read_form(bytes: &[u8]) -> Result<Form, Problem> {
    pairs(bytes).map(Form)
}

fn pairs(encoded: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let malformed =
        || Problem::new(Code::MalformedRequest, "The parameters are not UTF-8 text without NUL");
    let text = std::str::from_utf8(encoded).map_err(|_| malformed())?;
    let parsed = web::Query::<Vec<(String, String)>>::from_query(text).map_err(|_| malformed())?;
    let pairs = parsed.into_inner();
    // PostgreSQL has no such character.
    let has_nul = pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0'));
    if has_nul { Err(malformed()) } else { Ok(pairs) }
}

fn demand_media_type(request: &HttpRequest, wanted: &str) -> Result<(), Problem> {
    if media_type(request)? == wanted {
        return Ok(());
    }
    let detail = format!("The Content-Type must be {wanted}");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// What a body is, in lower case and without parameters; empty when it is not said.
///
/// # Errors
/// 415 for a body that is encoded.
pub(crate) fn media_type(request: &HttpRequest) -> Result<String, Problem> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let said = header(CONTENT_TYPE).unwrap_or_default();
    match header(CONTENT_ENCODING) {
        None | Some("identity") => {
            Ok(said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        }
        Some(_) => {
            let detail = "A body must come without Content-Encoding";
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
    }
}

/// A parameter of what a body is, by its name in lower case; empty when it is not said.
pub(crate) fn media_parameter(request: &HttpRequest, name: &str) -> String {
    let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let parameters =
        said.unwrap_or_default().split(';').skip(1).filter_map(|one| one.split_once('='));
    let mut named = parameters.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
}

/// Reads the bytes of a body, whatever they are.
///
/// # Errors
/// 413 for one that is too large, 408 for one that is too slow, 400 for one that is cut short.
pub(crate) async fn body_bytes(
    request: &HttpRequest,
    payload: Payload,
) -> Result<Vec<u8>, Problem> {
    let api = request.app_data::<web::Data<Api>>();
    let (limit, in_time) =
        api.map_or_else(Default::default, |api| (api.body_limit, api.body_timeout));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    match actix_web::rt::time::timeout(in_time, collect(payload, limit)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(Code::Timeout, "The body did not arrive whole in time")),
    }
}

async fn collect(mut payload: Payload, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            return Err(Problem::new(Code::MalformedRequest, "The body did not arrive whole"));
        };
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("A body may have at most {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use aftercare::patch::Patch;
    use serde_json::json;

    use super::super::parse;
    use super::*;

    #[derive(Debug)]
    struct Person {
        age: u32,
        town: Option<String>,
    }

    impl FromFields for Person {
        fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
            let age = fields.required("age", parse::whole(0..=150));
            let town = fields.object("home", |home| home.required("town", parse::text(5)));
            Some(Self { age: age?, town })
        }
    }

    fn faults(object: &Value) -> Vec<(String, String)> {
        let problem =
            from_object::<Person>(object.as_object().unwrap(), Place::Object(String::new()))
                .unwrap_err();
        let errors = problem.errors().iter();
        errors.map(|fault| (fault.pointer.clone(), fault.detail.clone())).collect()
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let faults = faults(&json!({"home": {"town": "Porto Covo", "x/y": 1}, "extra": true}));
        let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/age", "/home/town", "/home/x~1y", "/extra"]);
        assert!(faults[3].1.contains("known are age, home"));
    }

    #[test]
    fn a_null_is_absent_and_a_whole_object_is_read() {
        let read: Person = from_object(
            json!({"age": "41", "home": null}).as_object().unwrap(),
            Place::Object(String::new()),
        )
        .unwrap();
        assert_eq!((read.age, read.town), (41, None));
    }

    #[test]
    fn a_merge_tells_null_from_absent() {
        #[derive(Debug)]
        struct Home(Patch<u32>, Patch<String>);
        impl FromFields for Home {
            fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
                let age = fields.patch("age", parse::whole(0..=150));
                let town =
                    fields.patch_object("home", |home| home.required("town", parse::text(5)));
                Some(Self(age, town))
            }
        }
        let read = |object: Value| {
            from_object::<Home>(object.as_object().unwrap(), Place::Object(String::new()))
        };
        let Home(age, town) = read(json!({"age": null, "home": {"town": "Faro"}})).unwrap();
        assert_eq!((age, town), (Patch::Clear, Patch::Set("Faro".to_owned())));
        let Home(age, town) = read(json!({"age": "7", "home": null})).unwrap();
        assert_eq!((age, town), (Patch::Set(7), Patch::Clear));
        let Home(age, town) = read(json!({})).unwrap();
        assert_eq!((age, town), (Patch::Keep, Patch::Keep));
        let problem = read(json!({"age": "x", "home": {}, "who": null})).unwrap_err();
        let pointers: Vec<_> = problem.errors().iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/age", "/home/town", "/who"]);
        assert!(problem.errors()[2].detail.contains("known are age, home"));
    }

    #[test]
    fn of_a_list_every_bad_field_is_named_with_its_item() {
        let items = [json!({"age": "7"}), json!({"age": "x"}), json!(3), json!({"b": 1})];
        let problem = from_list::<Person>(&items, 4).unwrap_err();
        let pointers: Vec<_> = problem.errors().iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/1/age", "/2", "/3/age", "/3/b"]);
        assert_eq!(from_list::<Person>(&items, 3).unwrap_err().errors()[0].pointer, "");
        assert_eq!(from_list::<Person>(&items[..1], 3).unwrap().len(), 1);
    }

    #[test]
    fn query_parameters_come_once_and_are_named_as_such() {
        assert_eq!(read_query::<Person>("age=7").unwrap().age, 7);
        let problem = read_query::<Person>("age=7&age=8").unwrap_err();
        assert_eq!(problem.errors()[0].pointer, "?age");
        let problem = read_query::<Person>("age=700&b=1").unwrap_err();
        let pointers: Vec<_> = problem.errors().iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["?age", "?b"]);
    }
}
