package extract

import "github.com/recourse-go/recourse/internal/yamlfile"

// Form is a way to say where in a reply a fact stands.
type Form struct {
	Field     yamlfile.Field // its field in a policy file, which names the form
	ReadsBody bool           // it reads the reply's body; else its headers

	hidden  func(text string) bool // reports whether the values must not be shown; nil = never
	compile func(value any) reader // of what Field yields
}

// reader reads what one extractor's text names.
type reader interface {
	// read appends to dst the values that stand there, until dst has limit.
	read(dst []string, r *Reply, limit int) []string
}

// Forms are all forms, in the order in which schemas and messages name them.
var Forms = []*Form{jsonForm, xmlForm, xmlNameForm, headerForm, Text}

// Names returns the names of all forms.
func Names() (names []string) {
	for _, form := range Forms {
		names = append(names, form.Field.Name)
	}
	return names
}

// checked reads a field whose text bad has no objection to. bad returns why a text is
// wrong, or "".
func checked(bad func(text string) string, message string) *yamlfile.Kind {
	return &yamlfile.Kind{What: "text", Read: func(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
		if why := bad(in.Text); why != "" {
			return nil, yamlfile.Bad("bad-path", why, message, yamlfile.Cut(in.Text))
		}
		return in.Text, nil
	}}
}
