package enginetest

import (
	"fmt"
	"net/http"
)

// What a sync worker asks of a provider, in the provider's own form. The
// requests lack an Authorization header: see Tokens.

// ListRequest asks for a page of a mailbox's messages; "" is the first page.
func (s *Server) ListRequest(mailbox, page string) *http.Request { return s.listRequest(mailbox, page) }

// GetRequest asks for one message.
func (s *Server) GetRequest(mailbox, id string) *http.Request { return s.getRequest(mailbox, id) }

// SendRequest sends a message from the mailbox; id is the message's own
// identity, by which the server knows duplicates. Its body can be rewound.
func (s *Server) SendRequest(mailbox, id string) *http.Request { return s.sendRequest(mailbox, id) }

// FindRequest lists the sent messages of that identity: one or none.
func (s *Server) FindRequest(mailbox, id string) *http.Request { return s.findRequest(mailbox, id) }

// ParseList reads the answer to ListRequest and FindRequest: the messages'
// identifiers, and the page that follows or "".
func (s *Server) ParseList(body []byte) (ids []string, next string, err error) {
	if ids, next, err = s.parseList(body); err != nil {
		err = fmt.Errorf("enginetest: list of %q: %w", s.Name(), err)
	}
	return ids, next, err
}

// ParseMessage reads the answer to GetRequest. An answer that is no message is an error.
func (s *Server) ParseMessage(body []byte) (Message, error) {
	m, err := s.parseMessage(body)
	if err == nil && m.ID == "" {
		err = fmt.Errorf("no message in it")
	}
	if err != nil {
		return Message{}, fmt.Errorf("enginetest: message of %q: %w", s.Name(), err)
	}
	return m, nil
}
