//! The pages before anything: for who comes without a path, and for who opens an invitation without the app.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Scripts, answer};

const STYLE: &str = include_str!("front.css");

struct Words {
    language: &'static str,
    title: &'static str,
    what: &'static str,
    app: &'static str,
    code: &'static str,
}

const WORDS: [Words; 4] = [
    Words {
        language: "en",
        title: "Reminders on your phone",
        what: "With this code your clinic’s app gets the reminders for after your treatment.",
        app: "Open it on the phone that has the app. If the app is not there yet, install it first, then scan \
            the code again.",
        code: "The code works once. Looking at this page does not use it up. If it does not work any more, ask \
            your clinic for another.",
    },
    Words {
        language: "es",
        title: "Recordatorios en tu teléfono",
        what: "Con este código, la aplicación de tu clínica recibe los recordatorios para después de tu \
            tratamiento.",
        app: "Ábrelo en el teléfono que tiene la aplicación. Si aún no la tienes, instálala primero y vuelve a \
            escanear el código.",
        code: "El código sirve una sola vez. Ver esta página no lo gasta. Si ya no funciona, pide otro a tu \
            clínica.",
    },
    Words {
        language: "pt",
        title: "Lembretes no seu telemóvel",
        what: "Com este código, a aplicação da sua clínica recebe os lembretes para depois do seu tratamento.",
        app: "Abra-o no telemóvel que tem a aplicação. Se ainda não a tem, instale-a primeiro e leia o código \
            outra vez.",
        code: "O código funciona uma só vez. Ver esta página não o gasta. Se já não funcionar, peça outro à sua \
            clínica.",
    },
    Words {
        language: "fr",
        title: "Des rappels sur votre téléphone",
        what: "Avec ce code, l’application de votre clinique reçoit les rappels pour après votre soin.",
        app: "Ouvrez-le sur le téléphone où se trouve l’application. Si elle n’y est pas encore, installez-la \
            d’abord, puis scannez le code à nouveau.",
        code: "Le code ne sert qu’une fois. Regarder cette page ne l’use pas. S’il ne fonctionne plus, \
            demandez-en un autre à votre clinique.",
    },
];

/// What an invitation says to who has no app yet, in the first of these languages that it is written in.
pub(crate) fn enrol<'l>(mut languages: impl Iterator<Item = &'l str>) -> HttpResponse {
    let [english, ..] = &WORDS;
    let written = |wished: &str| WORDS.iter().find(|words| words.language == wished);
    let words = languages.find_map(written).unwrap_or(english);
    let main = html! {
        h1 { (words.title) }
        p { (words.what) }
        p { strong { (words.app) } }
        p { (words.code) }
    };
    answer(StatusCode::OK, STYLE, Scripts::None, document(words.language, words.title, &main))
}

/// What there is under this address.
pub(crate) fn root() -> HttpResponse {
    let main = html! {
        h1 { "Aftercare" }
        p { "This server reminds patients of what their clinic asks of them after a treatment." }
        ul {
            li { a href="desk" { "The desk" } ", for the people of a clinic" }
            li { a href="docs/" { "The API" } ", for those who write software" }
        }
    };
    answer(StatusCode::OK, STYLE, Scripts::None, document("en", "Aftercare", &main))
}

fn document(language: &str, title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (main) } }
        }
    }
}
