// Git over HTTP with basic authentication: the repositories of one directory, served by git's own http-backend.
// A push to a repository that does not exist makes it. There is no TLS: nothing leaves the cluster's namespace.
package main

import (
	"crypto/subtle"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var repository = regexp.MustCompile(`^/([a-z0-9][a-z0-9-]*\.git)/`)

func serveGit(args []string) error {
	flags := flag.NewFlagSet("git", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:3000", "address and port")
	directory := flags.String("directory", ".", "where the bare repositories are")
	user := flags.String("user", "git", "the user who may read and write")
	password := flags.String("password-file", "", "file with that user's password")
	_ = flags.Parse(args)

	secret, err := os.ReadFile(*password)
	if err != nil {
		return fmt.Errorf("cannot read the password: %w", err)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return err
	}
	root, err := filepath.Abs(*directory)
	if err != nil {
		return err
	}
	backend := &cgi.Handler{
		Path: git,
		Args: []string{"http-backend"},
		Dir:  root,
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1"},
	}
	want := *user + ":" + strings.TrimSpace(string(secret))
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("serving", root, "on", *listen)
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, given, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(name+":"+given), []byte(want)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "the user or the password is wrong", http.StatusUnauthorized)
			return
		}
		if r.URL.Query().Get("service") == "git-receive-pack" {
			if match := repository.FindStringSubmatch(r.URL.Path); match != nil {
				if err := create(git, filepath.Join(root, match[1])); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
			}
		}
		// http-backend accepts pushes only from somebody it can name.
		authenticated := *backend
		authenticated.Env = append(authenticated.Env[:len(authenticated.Env):len(authenticated.Env)], "REMOTE_USER="+name)
		authenticated.ServeHTTP(w, r)
	}))
}

func create(git, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if out, err := exec.Command(git, "init", "--quiet", "--bare", "--initial-branch=main", path).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot create %s: %s", path, out)
	}
	return nil
}
