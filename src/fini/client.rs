//! stub
use super::*;
#[derive(Clone)]
pub struct Client;
impl Client {
    pub async fn generate_answer(&self, _ask: &Ask<'_>) -> Result<Vec<Event>, AskError> {
        Ok(vec![])
    }
    pub async fn list_conversations(&self, _q: &Query) -> Result<Page, ReadError> {
        Err(ReadError::NoAnswer(String::new()))
    }
    pub async fn get_conversation(&self, _q: &InteractionId) -> Result<Conversation, ReadError> {
        Err(ReadError::NoAnswer(String::new()))
    }
}
