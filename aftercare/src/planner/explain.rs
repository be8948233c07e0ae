//! Reasons in words, for the patient who asks why.

use super::{Reason, ReminderState, ShiftCause};
use crate::locale::Locale;

/// A sentence in English, Spanish, Portuguese and French.
type Sentence = [&'static str; 4];

fn in_language(sentence: Sentence, locale: &Locale) -> &'static str {
    let [english, spanish, portuguese, french] = sentence;
    match locale.language() {
        "es" => spanish,
        "pt" => portuguese,
        "fr" => french,
        _ => english,
    }
}

/// Why a reminder stands where it stands, as one says it to the patient. In English where a language
/// has no words.
#[must_use]
pub fn explain(state: ReminderState, reason: Option<Reason>, locale: &Locale) -> &'static str {
    in_language(reason.map_or_else(|| of_state(state), |reason| of_reason(reason, state)), locale)
}

/// Why a step was moved, likewise.
#[must_use]
pub fn explain_shift(cause: ShiftCause, locale: &Locale) -> &'static str {
    in_language(of_shift(cause), locale)
}

const fn of_state(state: ReminderState) -> Sentence {
    match state {
        ReminderState::Planned | ReminderState::Claimed => [
            "It will come at its time.",
            "Llegará a su hora.",
            "Chegará à sua hora.",
            "Il arrivera à son heure.",
        ],
        ReminderState::Sent => ["It was sent.", "Se envió.", "Foi enviado.", "Il a été envoyé."],
        ReminderState::Expired => [
            "It could not be sent in time.",
            "No se pudo enviar a tiempo.",
            "Não pôde ser enviado a tempo.",
            "Il n’a pas pu être envoyé à temps.",
        ],
        ReminderState::Failed => [
            "It could not be sent.",
            "No se pudo enviar.",
            "Não pôde ser enviado.",
            "Il n’a pas pu être envoyé.",
        ],
        ReminderState::Cancelled | ReminderState::Superseded | ReminderState::Skipped => [
            "It is no longer needed.",
            "Ya no hace falta.",
            "Já não é preciso.",
            "Il n’est plus nécessaire.",
        ],
    }
}

#[expect(clippy::too_many_lines, reason = "a table of texts")]
const fn of_reason(reason: Reason, state: ReminderState) -> Sentence {
    match reason {
        Reason::NothingToSay => [
            "Nothing of it would hold by then.",
            "Para entonces ya no valdría nada de lo que dice.",
            "Nessa altura já nada do que diz se aplicaria.",
            "À ce moment-là, rien de ce qu’il dit ne vaudrait plus.",
        ],
        Reason::PastUseBy => [
            "It would have come too late to help.",
            "Habría llegado demasiado tarde para servir.",
            "Teria chegado demasiado tarde para ajudar.",
            "Il serait arrivé trop tard pour être utile.",
        ],
        Reason::QuietHours => [
            "It fell into your quiet hours and could not be moved out of them in time.",
            "Caía en tus horas de silencio y no se podía mover a tiempo.",
            "Calhava nas suas horas de silêncio e não podia ser mudado a tempo.",
            "Il tombait dans vos heures calmes et ne pouvait être déplacé à temps.",
        ],
        Reason::NoDevice => match state {
            ReminderState::Expired => [
                "No phone of yours could be reached in time.",
                "No se pudo llegar a ningún teléfono tuyo a tiempo.",
                "Nenhum telemóvel seu pôde ser alcançado a tempo.",
                "Aucun de vos téléphones n’a pu être joint à temps.",
            ],
            _ => [
                "It waits for a phone of yours that can be reached.",
                "Espera a que se pueda llegar a un teléfono tuyo.",
                "Espera por um telemóvel seu que possa ser alcançado.",
                "Il attend un de vos téléphones qui puisse être joint.",
            ],
        },
        Reason::Consent => [
            "You do not want reminders of this kind.",
            "No quieres recordatorios de este tipo.",
            "Não quer lembretes deste tipo.",
            "Vous ne voulez pas de rappels de ce genre.",
        ],
        Reason::Muted => [
            "You muted every rule it speaks of.",
            "Has silenciado todas las reglas de las que habla.",
            "Silenciou todas as regras de que fala.",
            "Vous avez désactivé toutes les consignes dont il parle.",
        ],
        Reason::Covered => [
            "An earlier reminder of the same evening says it.",
            "Ya lo dice un recordatorio anterior de la misma tarde.",
            "Um lembrete anterior da mesma noite já o diz.",
            "Un rappel précédent du même soir le dit déjà.",
        ],
        Reason::Voided => [
            "The clinic took the treatment back.",
            "La clínica anuló el tratamiento.",
            "A clínica anulou o tratamento.",
            "La clinique a annulé le soin.",
        ],
        Reason::Amended => [
            "The clinic corrected the treatment.",
            "La clínica corrigió el tratamiento.",
            "A clínica corrigiu o tratamento.",
            "La clinique a corrigé le soin.",
        ],
        Reason::Booked => [
            "Your next session has a date.",
            "Tu próxima sesión ya tiene fecha.",
            "A sua próxima sessão já tem data.",
            "Votre prochaine séance a une date.",
        ],
        Reason::NotBooked => [
            "Your next session has no date.",
            "Tu próxima sesión no tiene fecha.",
            "A sua próxima sessão não tem data.",
            "Votre prochaine séance n’a pas de date.",
        ],
        Reason::NewerSession => [
            "A newer session speaks for the course now.",
            "Ahora habla por la serie una sesión más reciente.",
            "Uma sessão mais recente fala agora pela série.",
            "Une séance plus récente parle désormais pour la série.",
        ],
        Reason::CourseComplete => [
            "You have had all the sessions of the course.",
            "Ya has hecho todas las sesiones de la serie.",
            "Já fez todas as sessões da série.",
            "Vous avez fait toutes les séances de la série.",
        ],
        Reason::Bundled => [
            "Another reminder says it together with its own.",
            "Otro recordatorio lo dice junto con lo suyo.",
            "Outro lembrete di-lo juntamente com o seu.",
            "Un autre rappel le dit avec le sien.",
        ],
        Reason::Accepted => [
            "It was sent to your phone.",
            "Se envió a tu teléfono.",
            "Foi enviado para o seu telemóvel.",
            "Il a été envoyé à votre téléphone.",
        ],
        Reason::Rejected => [
            "The notification service refused it.",
            "El servicio de notificaciones lo rechazó.",
            "O serviço de notificações recusou-o.",
            "Le service de notifications l’a refusé.",
        ],
        Reason::Retrying => [
            "An attempt failed; another follows.",
            "Un intento falló; sigue otro.",
            "Uma tentativa falhou; segue-se outra.",
            "Un essai a échoué ; un autre suit.",
        ],
        Reason::Snoozed => {
            ["You put it off.", "Lo has pospuesto.", "Adiou-o.", "Vous l’avez reporté."]
        }
    }
}

const fn of_shift(cause: ShiftCause) -> Sentence {
    match cause {
        ShiftCause::Late => [
            "It was due already when it was planned.",
            "Ya tocaba cuando se planificó.",
            "Já estava na hora quando foi planeado.",
            "Son heure était déjà passée quand il a été prévu.",
        ],
        ShiftCause::QuietHours => [
            "It was moved out of your quiet hours.",
            "Se movió fuera de tus horas de silencio.",
            "Foi mudado para fora das suas horas de silêncio.",
            "Il a été déplacé hors de vos heures calmes.",
        ],
        ShiftCause::Spread => [
            "Reminders of one hour are spread over a few minutes.",
            "Los recordatorios de una hora se reparten en unos minutos.",
            "Os lembretes de uma hora repartem-se por alguns minutos.",
            "Les rappels d’une même heure sont répartis sur quelques minutes.",
        ],
        ShiftCause::MinGap => [
            "The reminder before it was too near.",
            "El recordatorio anterior estaba demasiado cerca.",
            "O lembrete anterior estava demasiado próximo.",
            "Le rappel précédent était trop proche.",
        ],
        ShiftCause::Bundled => [
            "It is said together with one that comes a little earlier.",
            "Se dice junto con otro un poco anterior.",
            "É dito juntamente com outro um pouco anterior.",
            "Il est dit avec un autre, un peu plus tôt.",
        ],
        ShiftCause::MaxPerDay => [
            "The day had reminders enough, so it is said with an earlier one.",
            "El día ya tenía bastantes recordatorios, así que se dice con uno anterior.",
            "O dia já tinha lembretes suficientes, por isso é dito com um anterior.",
            "La journée avait assez de rappels : il est dit avec un précédent.",
        ],
        ShiftCause::Snoozed => {
            ["You put it off.", "Lo has pospuesto.", "Adiou-o.", "Vous l’avez reporté."]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own_in_every_language() {
        for language in ["en", "es", "pt", "fr"] {
            let locale: Locale = language.parse().unwrap();
            let of = |reason: &Reason| explain(ReminderState::Skipped, Some(*reason), &locale);
            let reasons: BTreeSet<_> = Reason::ALL.iter().map(of).collect();
            assert_eq!(reasons.len(), Reason::ALL.len(), "{language}");
            let shifts: BTreeSet<_> =
                ShiftCause::ALL.iter().map(|cause| explain_shift(*cause, &locale)).collect();
            assert_eq!(shifts.len(), ShiftCause::ALL.len(), "{language}");
            assert!(reasons.iter().chain(&shifts).all(|text| text.ends_with('.')));
        }
        let state = |language: &str| {
            let locale: Locale = language.parse().unwrap();
            explain(ReminderState::Expired, Some(Reason::NoDevice), &locale)
        };
        assert!(state("en").contains("in time") && state("de").contains("in time"));
        assert!(state("pt-BR").contains("a tempo"));
    }
}
