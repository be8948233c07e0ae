//! Pages out of longer lists.

/// Leaves one page of rows of which one more than fits was asked for. Gives its last row where more
/// follow: the next page starts after it.
pub fn cut<T>(rows: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| more)
}
