# Completion of treason for bash. Made by `make generated`.
#
# What the program tells is taken as text: nothing of it is ever expanded or run.

# What is asked of: words has the words up to the cursor, as they were before bash took them apart
# at : and =; the last one is the word to complete.
_treason_words() {
    local rest=${COMP_LINE:0:COMP_POINT} word bare i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        bare=${rest#"${rest%%[![:space:]]*}"}
        if ((i == 0)) || [[ $bare != "$rest" ]]; then
            words+=("")
        fi
        if ((i == COMP_CWORD)); then
            word=$bare
        fi
        words[${#words[@]} - 1]+=$word
        rest=${bare#"$word"}
    done
}

# Offer those of the words that go on from what is typed.
_treason_offer() {
    local each
    for each; do
        if [[ $each == "$typed"* ]]; then
            COMPREPLY+=("$each")
        fi
    done
}

# Offer what the program knows of a kind.
_treason_live() {
    local each
    while IFS= read -r each; do
        if [[ $each == "$typed"* && $each == [0-9A-Za-z]* && $each != *[!0-9A-Za-z._:/@+-]* ]]; then
            COMPREPLY+=("$each")
        fi
    done < <(command treason ${named:+--config "$named"} complete -- "$1" "$typed" \
        2>/dev/null </dev/null)
}

# Offer values: the first is what they are, as _treason_takes says it.
_treason_values() {
    case $1 in
        files) compopt -o default 2>/dev/null ;;
        live)
            if [[ $typed == file:* ]]; then
                compopt -o default 2>/dev/null
                return
            fi
            _treason_offer "${@:3}"
            _treason_live "$2"
            if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *: ]]; then
                compopt -o nospace 2>/dev/null
            fi
            ;;
        words) _treason_offer "${@:2}" ;;
    esac
}

# Set the commands that may follow.
_treason_inside() {
    commands=()
    case "$1" in
        "") commands=(backup ban config demo doctor export feed fleet history import init list migrate pause plugins reconcile restore resume run scan status teardown test-rule unban whitelist why) ;;
        "config") commands=(check show) ;;
        "feed") commands=(accept list run show) ;;
        "fleet") commands=(init add-member remove-member status) ;;
        "whitelist") commands=(add list remove) ;;
    esac
}

# Set the options that may follow.
_treason_options() {
    options=()
    case "$1" in
        "") options=(--config -v --verbose --version -h --help) ;;
        "backup") options=(--force -v --verbose -h --help) ;;
        "ban") options=(--file --skip-invalid --for --reason --force --close -v --verbose -h --help) ;;
        "config") options=(-v --verbose -h --help) ;;
        "config check") options=(--units -v --verbose -h --help) ;;
        "config show") options=(-o --output -v --verbose -h --help) ;;
        "demo") options=(-v --verbose -h --help) ;;
        "doctor") options=(-o --output -v --verbose -h --help) ;;
        "export") options=(--stored --observed --format --backend -v --verbose -h --help) ;;
        "feed") options=(-v --verbose -h --help) ;;
        "feed accept") options=(--lock-timeout -v --verbose -h --help) ;;
        "feed list") options=(-o --output -v --verbose -h --help) ;;
        "feed run") options=(--once -o --output -v --verbose -h --help) ;;
        "feed show") options=(--networks -o --output -v --verbose -h --help) ;;
        "fleet") options=(-v --verbose -h --help) ;;
        "fleet init") options=(--dsn --new-epoch --print-sql -v --verbose -h --help) ;;
        "fleet add-member") options=(--dsn --max-new --new-password --password-file --print-sql -v --verbose -h --help) ;;
        "fleet remove-member") options=(--dsn --yes --print-sql -v --verbose -h --help) ;;
        "fleet status") options=(--dsn --feed -o --output -v --verbose -h --help) ;;
        "history") options=(--limit -o --output -v --verbose -h --help) ;;
        "import") options=(--replace --for --reason --skip-invalid --force -v --verbose -h --help) ;;
        "init") options=(--systemd --timer-only --kernel-message --observe --new-database --undo --renew --adopt -v --verbose -h --help) ;;
        "list") options=(--rule --origin --all --since --sort --limit --invalid --observed-only -o --output -v --verbose -h --help) ;;
        "migrate") options=(--from --to --force --lock-timeout -v --verbose -h --help) ;;
        "pause") options=(--for --lock-timeout -v --verbose -h --help) ;;
        "plugins") options=(-o --output -v --verbose -h --help) ;;
        "reconcile") options=(--check --diff --source --backend --observed --no-create --no-scan --full --force --adopt --scheduled --lock-timeout -o --output -v --verbose -h --help) ;;
        "restore") options=(--check --force --lock-timeout -v --verbose -h --help) ;;
        "resume") options=(--lock-timeout -v --verbose -h --help) ;;
        "run") options=(--source --backend --no-create -v --verbose -h --help) ;;
        "scan") options=(--source --again --force --lock-timeout -o --output -v --verbose -h --help) ;;
        "status") options=(--protection -o --output -v --verbose -h --help) ;;
        "teardown") options=(--backend --lock-timeout -v --verbose -h --help) ;;
        "test-rule") options=(--pattern --rule --sockets --follow -o --output -v --verbose -h --help) ;;
        "unban") options=(--file --skip-invalid --all --rule --yes -v --verbose -h --help) ;;
        "whitelist") options=(-v --verbose -h --help) ;;
        "whitelist add") options=(--file --skip-invalid --for --comment --force --lock-timeout -v --verbose -h --help) ;;
        "whitelist list") options=(-o --output -v --verbose -h --help) ;;
        "whitelist remove") options=(--file --skip-invalid --lock-timeout -v --verbose -h --help) ;;
        "why") options=(--expect -o --output -v --verbose -h --help) ;;
    esac
}

# Set what an option takes, or without an option the command; nothing if it takes none.
_treason_takes() {
    takes=()
    case "$1:$2" in
        ":--config") takes=(files) ;;
        "backup:") takes=(files) ;;
        "ban:") takes=(words) ;;
        "ban:--file") takes=(files) ;;
        "ban:--for") takes=(words) ;;
        "ban:--reason") takes=(words) ;;
        "config show:-o") takes=(words text json) ;;
        "config show:--output") takes=(words text json) ;;
        "doctor:-o") takes=(words text json) ;;
        "doctor:--output") takes=(words text json) ;;
        "export:--format") takes=(words plain csv json) ;;
        "export:--backend") takes=(live backends file: ipset iptables nftables) ;;
        "feed accept:") takes=(live feeds) ;;
        "feed accept:--lock-timeout") takes=(words) ;;
        "feed list:-o") takes=(words text json) ;;
        "feed list:--output") takes=(words text json) ;;
        "feed run:") takes=(live feeds) ;;
        "feed run:-o") takes=(words text json) ;;
        "feed run:--output") takes=(words text json) ;;
        "feed show:") takes=(live feeds) ;;
        "feed show:-o") takes=(words text json) ;;
        "feed show:--output") takes=(words text json) ;;
        "fleet init:--dsn") takes=(words) ;;
        "fleet add-member:") takes=(words) ;;
        "fleet add-member:--dsn") takes=(words) ;;
        "fleet add-member:--max-new") takes=(words) ;;
        "fleet add-member:--password-file") takes=(files) ;;
        "fleet remove-member:") takes=(words) ;;
        "fleet remove-member:--dsn") takes=(words) ;;
        "fleet status:--dsn") takes=(words) ;;
        "fleet status:--feed") takes=(live feeds) ;;
        "fleet status:-o") takes=(words text json) ;;
        "fleet status:--output") takes=(words text json) ;;
        "history:") takes=(live bans) ;;
        "history:--limit") takes=(words) ;;
        "history:-o") takes=(words text json) ;;
        "history:--output") takes=(words text json) ;;
        "import:") takes=(files) ;;
        "import:--replace") takes=(live imports) ;;
        "import:--for") takes=(words) ;;
        "import:--reason") takes=(words) ;;
        "list:--rule") takes=(live listed manual) ;;
        "list:--origin") takes=(live listed manual) ;;
        "list:--since") takes=(words) ;;
        "list:--sort") takes=(words network since until offences) ;;
        "list:--limit") takes=(words) ;;
        "list:-o") takes=(words text json) ;;
        "list:--output") takes=(words text json) ;;
        "migrate:--from") takes=(live backends file: ipset iptables nftables) ;;
        "migrate:--to") takes=(live backends file: ipset iptables nftables) ;;
        "migrate:--lock-timeout") takes=(words) ;;
        "pause:--for") takes=(words) ;;
        "pause:--lock-timeout") takes=(words) ;;
        "plugins:-o") takes=(words text json) ;;
        "plugins:--output") takes=(words text json) ;;
        "reconcile:--source") takes=(live sources dmesg file: journal kmsg sockets) ;;
        "reconcile:--backend") takes=(live backends file: ipset iptables nftables) ;;
        "reconcile:--observed") takes=(files) ;;
        "reconcile:--lock-timeout") takes=(words) ;;
        "reconcile:-o") takes=(words text json) ;;
        "reconcile:--output") takes=(words text json) ;;
        "restore:") takes=(files) ;;
        "restore:--lock-timeout") takes=(words) ;;
        "resume:--lock-timeout") takes=(words) ;;
        "run:--source") takes=(live sources dmesg file: journal kmsg sockets) ;;
        "run:--backend") takes=(live backends file: ipset iptables nftables) ;;
        "scan:--source") takes=(live sources dmesg file: journal kmsg sockets) ;;
        "scan:--again") takes=(files) ;;
        "scan:--lock-timeout") takes=(words) ;;
        "scan:-o") takes=(words text json) ;;
        "scan:--output") takes=(words text json) ;;
        "status:-o") takes=(words text json) ;;
        "status:--output") takes=(words text json) ;;
        "teardown:--backend") takes=(live backends file: ipset iptables nftables) ;;
        "teardown:--lock-timeout") takes=(words) ;;
        "test-rule:") takes=(files) ;;
        "test-rule:--pattern") takes=(words) ;;
        "test-rule:--rule") takes=(live rules treason-uncloaked unexpectedly-shrunk probing-zero-window shrinks-window zero-window zero-window-in-company sockstress ufw-block netfilter-log tcp-md5 tcp-ao martian-source) ;;
        "test-rule:-o") takes=(words text json) ;;
        "test-rule:--output") takes=(words text json) ;;
        "unban:") takes=(live bans) ;;
        "unban:--file") takes=(files) ;;
        "unban:--rule") takes=(live origins manual) ;;
        "whitelist add:") takes=(words) ;;
        "whitelist add:--file") takes=(files) ;;
        "whitelist add:--for") takes=(words) ;;
        "whitelist add:--comment") takes=(words) ;;
        "whitelist add:--lock-timeout") takes=(words) ;;
        "whitelist list:-o") takes=(words text json) ;;
        "whitelist list:--output") takes=(words text json) ;;
        "whitelist remove:") takes=(live whitelist) ;;
        "whitelist remove:--file") takes=(files) ;;
        "whitelist remove:--lock-timeout") takes=(words) ;;
        "why:") takes=(live bans) ;;
        "why:--expect") takes=(words dropped passed) ;;
        "why:-o") takes=(words text json) ;;
        "why:--output") takes=(words text json) ;;
    esac
}


_treason() {
    local words typed named= path= option= only= takes=() options=() commands=() i
    COMPREPLY=()
    _treason_words
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        if [[ -n $option ]]; then
            if [[ $option == --config ]]; then
                named=${words[i]}
            fi
            option=
        elif [[ -z $only && ${words[i]} == -- ]]; then
            only=yes
        elif [[ -z $only && ${words[i]} == --config=* ]]; then
            named=${words[i]#--config=}
        elif [[ -z $only && ${words[i]} == -* ]]; then
            _treason_takes "$path" "${words[i]}"
            if ((${#takes[@]})); then
                option=${words[i]}
            fi
        else
            _treason_inside "$path"
            if [[ " ${commands[*]} " == *" ${words[i]} "* ]]; then
                path=${path:+$path }${words[i]}
            fi
        fi
    done
    named=${named#[\"\']}
    named=${named%[\"\']}
    typed=${words[${#words[@]} - 1]#[\"\']}
    if [[ -n $option ]]; then
        _treason_takes "$path" "$option"
        _treason_values "${takes[@]}"
    elif [[ -z $only && $typed == --*=* ]]; then
        _treason_takes "$path" "${typed%%=*}"
        option=${typed%%=*}=
        typed=${typed#*=}
        _treason_values "${takes[@]}"
        COMPREPLY=("${COMPREPLY[@]/#/$option}")
        typed=$option$typed
    elif [[ -z $only && $typed == -* ]]; then
        _treason_options "$path"
        _treason_offer "${options[@]}"
    else
        _treason_inside "$path"
        if ((${#commands[@]})); then
            _treason_offer "${commands[@]}"
        else
            _treason_takes "$path" ""
            _treason_values "${takes[@]}"
        fi
    fi
    # bash puts what is offered behind the last of these, so that is not to come twice.
    for i in = :; do
        if [[ $COMP_WORDBREAKS == *"$i"* && $typed == *"$i"* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${typed%"$i"*}$i"}")
        fi
    done
}

complete -F _treason treason
