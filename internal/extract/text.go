package extract

import (
	"regexp"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Text reads what a regular expression matches in the text of the reply: see [Reply.Search].
var Text = &Form{
	Field: yamlfile.Field{Name: "text", Kind: Pattern,
		Doc: "A regular expression (RE2) that is applied to the message. If there is no message, it is applied to the first 4 KiB of the body, but never of a 2xx response. The result is its first group, or the whole match if it has no group."},
	ReadsBody: true,
	compile:   func(re any) reader { return &textPattern{re: re.(*regexp.Regexp)} },
}

// textPattern is a regular expression that searches a reply's text.
type textPattern struct {
	re    *regexp.Regexp
	need  required.Need // the texts of which a match contains one; none until Section.prepare
	texts textSet       // need's texts, by their places among the scanner's
}

func (p *textPattern) read(dst []string, r *Reply, limit int) []string {
	from := r.window.start(0, p)
	if from < 0 {
		return dst
	}
	s := r.window.text[from:]
	loc := p.re.FindStringSubmatchIndex(s)
	if loc == nil {
		return dst
	}
	all := [][]int{loc}
	if limit > 1 && r.window.start(from+loc[1], p) >= 0 {
		all = p.re.FindAllStringSubmatchIndex(s, limit)
	}
	for _, loc := range all {
		dst = append(dst, group(s, loc))
	}
	return dst
}

// MayMatch reports whether x, which must be of the form Text, may match the text that r
// searches. It is much cheaper than to read x.
func (x *Extractor) MayMatch(r *Reply) bool {
	p, ok := x.reader.(*textPattern)
	return ok && r.window.start(0, p) >= 0
}
