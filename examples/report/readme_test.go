package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: each block of Go in the README stands in this folder, where it
// is compiled.
func TestReadme(t *testing.T) {
	var code []string
	for _, name := range []string{"../../README.md", "main.go", "readme_snippets_test.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, string(b))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(code[0], -1)
	if len(blocks) < 3 {
		t.Errorf("%d blocks", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(flush(code[1]), flush(block[1])) && !strings.Contains(flush(code[2]), flush(block[1])) {
			t.Errorf("stands nowhere:\n%s", block[1])
		}
	}
}

var indentation = regexp.MustCompile(`(?m)^\t+`)

func flush(code string) string { return indentation.ReplaceAllString(code, "") }
