DROP INDEX reminders_clinic_due;
