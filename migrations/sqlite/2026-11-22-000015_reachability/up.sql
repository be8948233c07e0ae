-- What each clinic's patients are to hear, and what they would if they wanted to, by due moment.
CREATE INDEX reminders_clinic_due ON reminders (clinic_id, due_at, id)
    WHERE state IN ('planned', 'claimed') OR (state = 'skipped' AND reason = 'consent');
