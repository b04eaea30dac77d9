#compdef recourse
# zsh completion for recourse; written by "recourse completion zsh".
_recourse() {
	local state state_descr line
	local -a commands=(
		'demo:the main job: sync workers against fake providers over local HTTP'
		'check:check policy files: every mistake, with its place and a hint'
		'test:run the test suites of policies'
		'decide:answer recorded errors: JSON Lines in, one decision a line out'
		'explain:say which rule decides about a response, and why'
		'schema:print the JSON Schema of policy files, or of test suites'
		'completion:print a shells completion script'
		'version:print the versions of the command and of its built-in policies'
		'help:explain a command'
	)
	if (( CURRENT == 2 )); then
		_describe command commands
		return
	fi
	local name=$words[2]
	shift words
	(( CURRENT-- ))
	case $name in
	demo) _arguments '--json[print one JSON object, and no progress]' '--seed=[decides what goes wrong  the same N, the same faults]:seed:' '--workers=[N workers in all, a quarter of them for each provider]:workers:' ;;
	check) _arguments '--format=[how to print what is found]:format:(text json github)' '--strict[let warnings fail too]' '*:file:_files' ;;
	test) _arguments '--cover[name the rules and conditions that no test needs]' '--cover-min=[fail when less than PCT percent of rules match]:cover-min:' '--format=[how to print the outcome]:format:(text json junit)' '--run=[only tests whose provider/name matches RE]:run:' '*:file:_files' ;;
	decide) _arguments '--policies=[policies over the built-in ones, from DIR or a file]:directory:_files -/' '*:file:_files' ;;
	explain) _arguments '--format=[how to print the explanation]:format:(text json)' '--policies=[policies over the built-in ones, from DIR or a file]:directory:_files -/' '*:name:->name'
		if [[ $state == name ]]; then
			case $PREFIX in
			provider=*) compset -P '*='; compadd -- caldav eas entra ews gmail gmail_2026 gmail_imap gmail_smtp google google_calendar google_oauth http icloud imap microsoft microsoft_graph nylas nylas_v2 nylas_v3 oauth2 outlook_imap outlook_smtp rick slack smtp warpflow yahoo_imap zoho ;;
			method=*) compset -P '*='; compadd -- GET POST PUT PATCH DELETE HEAD REPORT PROPFIND ;;
			protocol=*) compset -P '*='; compadd -- http smtp imap ;;
			imap_status=*) compset -P '*='; compadd -- OK NO BAD BYE PREAUTH ;;
			idempotent=*) compset -P '*='; compadd -- true false ;;
			sent=*) compset -P '*='; compadd -- true false ;;
			network=*) compset -P '*='; compadd -- timeout dns connect reset eof tls canceled other ;;
			*=*) ;;
			*) compadd -S '' -- provider= operation= method= protocol= url= idempotency_key= status= imap_status= body= network_error= now= attempt= elapsed= idempotent= sent= type= code= codes= message= network= retry_after= ;;
			esac
		fi ;;
	schema) _arguments '1:argument:(policy suite)' ;;
	completion) _arguments '1:argument:(bash zsh fish)' ;;
	version) _arguments ;;
	help) _arguments '1:argument:(demo check test decide explain schema completion version help)' ;;
	esac
}
if [ "$funcstack[1]" = _recourse ]; then _recourse; else compdef _recourse recourse; fi
