// Package uplot embeds uPlot, a small library for charts on a canvas, with its licence.
// The debug page and the report of recourse simulate draw their charts by it, so both
// work without a network.
//
// See https://github.com/leeoniya/uPlot; README.md says how to update it.
package uplot

import _ "embed"

// Version is the release of uPlot that is embedded.
const Version = "1.6.32"

// Script is the minified JavaScript. It defines one global name, uPlot. It neither
// evaluates text nor writes style attributes, so a strict content security policy allows it.
//
//go:embed uPlot.iife.min.js
var Script string

// Style is the minified style sheet that Script's charts need.
//
//go:embed uPlot.min.css
var Style string

// License is the text of the MIT licence, which has to go along with Script and Style
// wherever they are copied.
//
//go:embed LICENSE
var License string
