package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/google/shlex"
	"go.yaml.in/yaml/v3"
)

// maxEdit bounds what is read from standard input for an edit (bytes).
const maxEdit = 16 << 20

// errEmpty is for an edit that leaves no text at all, as when what was to write it has failed.
var errEmpty = errors.New(T("The text is empty: nothing was changed"))

// editYAML lets the user change a document. Standard input that is not a terminal replaces it outright; else an editor is opened on help and
// document, again as long as apply fails and the user wants to. The help is a comment: lines that start with "###". A text without any
// document in it is refused: whoever wants an empty one writes {}.
func (c *App) editYAML(help string, document any, apply func(data []byte) error) error {
	applyDocument := func(data []byte) error {
		var document any
		if err := fromYAML(data, &document); err == nil && document == nil {
			return errEmpty
		}
		return apply(data)
	}
	if !isTerminal(c.In) {
		data, err := c.readEdit()
		if err != nil {
			return err
		}
		return applyDocument(data)
	}
	data, err := toYAML(document)
	if err != nil {
		return err
	}
	return c.editText(append([]byte(help+"\n\n"), data...), ".yaml", applyDocument)
}

// readEdit reads the new text of what is edited from standard input. An empty one is refused.
func (c *App) readEdit() ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(c.In, maxEdit+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxEdit:
		return nil, fmt.Errorf(T("The text is longer than %s: nothing was changed"), byteSizeIEC(maxEdit, 0))
	case len(data) == 0:
		return nil, errEmpty
	}
	return data, nil
}

// editText opens the editor on a text until apply takes it or the user gives up.
func (c *App) editText(text []byte, suffix string, apply func([]byte) error) error {
	content, err := c.runEditor(text, suffix)
	if err != nil {
		return err
	}
	for {
		err := apply(content)
		if err == nil {
			return nil
		}
		fmt.Fprintf(c.Err, T("Config parsing error: %s")+"\n", err)
		fmt.Fprintln(c.Out, T("Press enter to open the editor again or ctrl+c to abort change"))
		if _, err := c.readLine(); err != nil {
			return err
		}
		if content, err = c.runEditor(content, suffix); err != nil {
			return err
		}
	}
}

// runEditor opens $VISUAL, $EDITOR or what is there on a temporary file and returns what it left in it.
func (c *App) runEditor(text []byte, suffix string) ([]byte, error) {
	command, err := editorCommand()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "berth_editor_*"+suffix)
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], append(command[1:], f.Name())...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, c.Err
	if f := fileOf(c.Out); f != nil {
		cmd.Stdout = f // the terminal itself, not a pipe to it
	}
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(f.Name())
}

func editorCommand() ([]string, error) {
	for _, env := range []string{"VISUAL", "EDITOR"} {
		words, err := shlex.Split(os.Getenv(env))
		if err != nil {
			return nil, fmt.Errorf("$%s: %w", env, err)
		}
		if len(words) > 0 {
			return words, nil
		}
	}
	for _, name := range []string{"editor", "vi", "emacs", "nano", "notepad"} {
		if path, err := exec.LookPath(name); err == nil {
			return []string{path}, nil
		}
	}
	return nil, errors.New(T("No text editor found, please set the EDITOR environment variable"))
}

// fromYAML decodes what a user wrote; nothing at all is an empty document.
func fromYAML(data []byte, v any) error {
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// yamlHelp makes the comment on top of an edited document.
func yamlHelp(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight("### "+l, " ")
	}
	return strings.Join(lines, "\n")
}
