package extract

import (
	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// headerForm reads the values of a header.
var headerForm = &Form{
	Field:   yamlfile.Field{Name: "header", Kind: yamlfile.Header, Doc: "The name of a response header, whose value is read."},
	hidden:  secretheader.Is,
	compile: func(name any) reader { return headerName(name.(string)) },
}

// maxHeader is how many bytes of one header value are read.
const maxHeader = 16 << 10

// headerName is the canonical name of a header.
type headerName string

func (name headerName) read(dst []string, r *Reply, limit int) []string {
	for _, v := range r.Header[string(name)] {
		if len(dst) == limit {
			break
		}
		dst = append(dst, Cut(v, maxHeader))
	}
	return dst
}
