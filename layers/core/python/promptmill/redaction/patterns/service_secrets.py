"""Find keys beside the name of the service that gave them out: there a random word is a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import Judge, is_filler
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import Span

SERVICES = tuple(
    """
    abstractapi abuseipdb accuweather adafruit adobe adyen adzuna aeroworkflow affinda agora aha aio airbrake
    airship airtable airvisual aiven akamai alchemy alegra aletheia algolia alibaba alienvault aliyun allsports
    alphavantage amadeus ambee amplitude anthropic anypoint apacta api2cart apideck apiflash apifonica apify
    apilayer apimatic apimetrics apitemplate apollo appcues appetize appfollow appointedd appoptics appsynergy
    apptweak appveyor artifactory artsy asana assemblyai atera atlassian audd auth0 authress autodesk autoklose
    autopilot avaza aviationstack axiom axonaut aylien ayrshare backblaze bamboohr bannerbear baremetrics
    baseapi baseten beamer bearer beebole besttime betterstack bigcommerce billomat bitbar bitbucket
    bitcoinaverage bitfinex bitgo bitly bitmex bittrex blazemeter blitapp blockchain blockfrost blogger blynk
    bombbomb boostnote borgbase braintree branchio brandfetch brevo brightdata browserless browserstack browshot
    bscscan buddyns bugcrowd bugherd bugsnag buildkite bulbul bulksms bunnycdn buttercms byteplus caflou
    calendarific calendly calorieninja campayn canny capsulecrm captaindata carboninterface cashboard cashfree
    caspio censys centralstation cerebras cexio chargebee chargify chartmogul chatbot chatfule checio checklyhq
    checkout checkr checkvist cicero circleci clarifai clearbit clickhelp clickhouse clicksend clickup cliengo
    clinchpad clockify clockwork clojars cloudant cloudconvert cloudelements cloudflare cloudimage cloudinary
    cloudmersive cloudplan cloudsight cloudsmith cloudways cloverly cloze clustdoc cockroach codacy codeclimate
    codecov codemagic codequiry cohere coinapi coinbase coingecko coinlayer coinlib coinmarketcap collect2
    column commercejs commodities companyhub confluent constantcontact contentful contentstack conversiontools
    convertapi convertkit convier copper copyleaks couchbase countrylayer courier coveralls craftmypdf cratesio
    credly cronitor crowdin crowdstrike cryptocompare currencycloud currencyfreaks currencylayer currencyscoop
    currentsapi curseforge customerguru customerio d7network dailyco dandelion dareboost databento databox
    databricks datadog datafire datagov datarobot debounce deepai deepgram deepl deepseek delighted demio
    dependencytrack deputy detectify detectlanguage deviantart dfuse diffbot diggernaut digicert digitalocean
    discord discourse disqus ditto dnscheck dnsimple docker dockerhub docparser docsend documo docusign doppler
    dotmailer dovico drift droneci dropbox dropboxsign duffel duply dwolla dynalist dynatrace dyspatch
    eagleeyenetworks easyinsight easypost ebay ecostruxureit edamam edenai eightxeight elasticemail
    elasticsearch elevenlabs enablex endorlabs enigma enphase eodhd eraser etherscan etsy eventbrite everhour
    exchangerate exoscale expensify facebook faceplusplus fastforex fastly fauna fedex fibery figma fileio
    filepicker filestack finage financialmodelingprep findl finicity finnhub firebase firecrawl fireworks fixer
    fixerio flagsmith flatio fleetbase flexera flexport flickr flightapi flightlabs flightstats float flowflu
    flutterwave fmfw forem formbucket formcraft formio formsite formstack foursquare frameio freemius freshbooks
    freshdesk freshservice freshworks friendli front frontegg fulcrum fullstory fusebill fxmarket geckoboard
    gemfury gemini gengo geoapify geocode geocodify geocodio geoipify getemail getgeoapi getgist getresponse
    getsandbox getstream ghost gitalk gitea github gitlab gitter glassnode gocanvas gocardless godaddy gofile
    goodday gradle grafana graphcms graphhopper gravatar groovehq groq gtmetrix guardianapi gumroad guru gusto
    gyazo hackerone happi happyscribe harness hashicorp hasura helius hellosign helpcrunch helpscout hereapi
    heroku hetzner hiveage holidayapi honeycomb hootsuite host2 hotelbeds hotjar html2pdf hubspot huggingface
    humanity hunter hybiscus hyperbrowser hypertrack iconfinder iexapis iexcloud imagekit imagga imgix imgur
    impala influxdb infobip infracost infura insightly instabot instabug instagram instamojo integromat intercom
    interseller intra42 intrinio invision invoiceocean ip2location ipapi ipgeolocation ipify ipinfo ipinfodb
    ipquality ipstack ironclad iterable ixapi jdbc jenkins jfrog jina jira jiratoken jotform jumpcloud
    jupiterone juro jwplayer kagi kajabi kaleyra kanban kanbantool kandji karmacrm keen keenio keycloak kickbox
    kinde klaviyo klingai klipfolio knapsackpro kontent kraken kucoin kustomer kylas lacework lambdatest landbot
    langfuse langsmith languagelayer lansweeper lark launchdarkly leadfeeder lemlist lemonsqueezy lendflow
    lessannoyingcrm lexigram lichess linear linkedin linkpreview linode litellm liveagent liveblocks livestorm
    loadmill lob locationiq logdna loggly loginradius logtail logzio lokalise looker loyverse luno lusha madkudu
    magicbell magnetic mailboxlayer mailboxvalidator mailchimp mailerlite mailgun mailjet mailmodo mailosaur
    mailsac mailtrap mandrill manychat mapbox mapquest marketstack marqeta matomo mattermost mavenlink maxmind
    mediastack meilisearch meistertask memberful mendable meraki mercadopago mesibo messagebird metaapi metabase
    metrilo mezmo microsoft midise mindmeister minimax miro mistral mite mixcloud mixmax mixpanel mockaroo
    moderation monday mongodb monkeylearn moonclerk moosend moralis mrticktock mulesoft mux muxdata myexperiment
    myintervals nasdaq nasdaqdatalink naver nethunt netlify netsuite neutrino newrelic newsapi newscatcher nexmo
    nftport ngc ngrok nicereply nightfall nimble nordigen nortonlifelock noticeable notion novita nozbe npm
    nuget numverify nutritionix nutshell nvapi nvidia nylas nytimes oanda okta olark ollama omnisend onedesk
    onelogin onepagecrm onepassword onesignal oneuptime onfido onfleet onwater oopspam openai opencage
    openexchangerates opengraph openrouter opentok openuv openvpn openweather openweathermap opsgenie optimizely
    otter overloop owlbot packagecloud pagarme pagerduty pagertree paloalto pandadoc pandascore paperform
    paralleldots parsehub parsers parseur particle partnerstack passbase pastebin paydirtapp paymo paymongo
    payoneer paypal paystack pdflayer pdfshift pendo peopledatalabs pepipost percy perplexity phantombuster
    photoroom phpmailer phraseaccess pinata pinecone pingdom pinterest pipedream pipedrive pipefy pivotaltracker
    pixabay plaid plaidkey planetscale planhat planningcenter planview planyo plausible plivo podio pokemon
    pollsapi poloniex polygon polymarket portainer positionstack postageapp postbacks posthog postman postmark
    powrbot prefect prismic privacy privatebin procore prodpad prospectcrm protocolsio proxycrawl pubnub pulumi
    purestake pushbullet pusher pushover pypi qase qdrant qualaroo quay qubole quickbooks quickmetrics quicknode
    rabbitmq ramp rapidapi raven rawg razorpay readme reallysimple rebrandly recaptcha rechargepayments recurly
    reddit redis refiner render rentman repairshopr replicate replit replyio requestfinance resend restpack
    restpackhtml rev revai revamp revolut rezgo ringcentral riot ritekit roaring rocketreach rollbar roninapp
    rootly route4me route53 rownd rubygems runpod runrunit runway runwayml salesblink salescookie salesflare
    salesforce salesloft salesmate samsara sanity satismeter saucelabs scaleai scaleway scalewaykey scalr
    scrapeowl scraperapi scraperbox scraperstack scrapestack scrapfly scrapingant scrapingbee screenshotapi
    screenshotlayer scrutinizer securitytrails segment selectpdf semaphore semrush sendbird sendgrid sendinblue
    sendy sentiment sentry serpapi serper serphouse serpstack servicenow sheety sherpadesk shipday shippo
    shipstation shodan shopify shortcut shotstack shutterstock sigma signable signalwire signaturit signupgenius
    sigopt simfin simplesat simplynoted simvoly sinch sirv siteground siteleaf sketchfab skrapp skrappio
    skybiometry slack slite smartling smartsheet smartsheets smartystreets smooch snapchat snapcraft snipcart
    snowflake snyk sonar sonarcloud sonarqube sonatype soundcloud sourcegraph sparkpost speechmatics speechtext
    splitio splunk spoonacular sportradar sportsmonk spotify spotinst squadcast square squareapp squarespace
    squareup sslmate stackhawk statsig statuscake statuspage statuspal stitchdata stockdata stockx storecove
    stormboard stormglass storyblok storychief strapi strava streak stripe stripo stytch sugester sumologic
    supabase supernotes surge surveyanyplace surveybot surveymonkey surveysparrow survicate svix swell swiftype
    tableau tailscale tallyfy tatum tatumio tavily taxjar teachable teamcity teamgate teamworkcrm teamworkdesk
    teamworkspaces technicalanalysis telegram telesign telnyx tencent terraform text2data textmagic the-odds-api
    theoddsapi thingsboard thinkific thousandeyes ticketmaster ticktick tidio tiingo tiktok timecamp timezoneapi
    tineswebhook tinybird tldv tly tmetric todoist togetherai toggl toggltrack tokeet tomorrowio tomtom tradier
    transferwise transloadit travelpayouts travis travisci trello trelloapi trufflehog trustpilot tumblr turso
    twelvedata twelvelabs twilio twist twitch twitter tyntec typeform typesense typetalk ubidots uclassify
    ultravox unifyid unplugg unsplash upcdatabase uplead uploadcare upstash uptimerobot upwave uri urlscan
    userback userflow userguiding userstack usps vapi vatlayer vbout veracode vercel verifier verimail veriphone
    versioneye viewneo vimeo virustotal visualcrossing vmware voiceflow voicegain volcengine vonage voodoosms
    vouchery voyage vpnapi vultr vyte wakatime walkscore wandb weatherapi weatherbit weatherstack weaviate
    web3storage webex webflow webscraper webscraping websitepulse weightsandbiases wepay whatsapp whereby whoxy
    wireguard wistia wix wiz woocommerce wordpress workable workday workos worksnaps workstack worldcoinindex
    worldtides worldweather wrike xai xata xero yahoo yandex yelp yext ynab yotpo youneedabudget youtrack
    youtube zapier zendesk zenhub zenkit zenrows zenscrape zenserp zeplin zerobounce zerotier zhipu zillow
    zipapi zipbooks zipcodeapi zoho zonka zoom zoominfo zscaler zulipchat zuora zuplo
    """.split()  # noqa: SIM905 (a list of a word a line would fill pages)
)
AMBIGUOUS = frozenset(
    """
    checkout adobe affinda affirm aha aws azure bearer box branch buffer canny clerk close coda column convex cursor
    cypress dailyco deno discord ditto docker drift drone elastic enigma eraser exa expensify expo facebook
    fixer flat float fly front gcp ghost github gitlab greenhouse guru harness here hunter impala lemon line
    linear lob looker medium mercury microsoft mite modal moderation monday nasa neon nimble notion npm octopus
    orb orbit otter outreach paddle percy phrase polar polygon portal privacy prodpad purestake ramp raven
    readme redis retell rev revamp segment semaphore sentiment sentry shortcut sigma slack sonar square steam
    streak surge swell terraform together trello trigger twist twitter unity uri vault weather wiz yahoo youtube
    zoom
    """.split()  # noqa: SIM905 (as above)
)
"""Services whose names are words as well: a random word beside them has to be long."""


_SERVICE = r"(?i)\b(?:" + "|".join(sorted({*SERVICES, *AMBIGUOUS}, key=lambda name: (-len(name), name))) + ")"
_BESIDE = re.compile(r"[\w\-. ]{0,20}?[\"']?(?:[ :\-]|\s?=[>=]?|\?=|::?=){1,4}\s{0,2}[\"']?([A-Za-z0-9_\-./+=~]{10,})")
_GOES_ON = re.compile(
    r"(?:api|key|token|secret|access|auth|pass|app|client|private|public|webhook|bot|dev|test|prod|sandbox|sdk|io|com|hq|cli|id)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?i)(?:public[_\- ]?key|sha\d*|md5|checksum|digest|commit|rev(?:ision)?|version|integrity|etag|fingerprint|hash|branch|image|tag|path|url|uri|host|name|region)$"
)
_UUID = re.compile(r"[0-9A-Za-z]{8}-(?:[0-9A-Za-z]{4}-){3}[0-9A-Za-z]{11,12}")
_GROUPS = re.compile(r"[A-Z0-9]{4,12}(?:-[A-Z0-9]{4,12}){3,}")
_PATH = re.compile(r"(?:[\w.\-]*/)?[A-Za-z]?[a-z]{3,}/")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_REACH, _MAX_LENGTH = 140, 4_000
_MIN_LENGTH, _MIN_BESIDE_A_WORD = 16, 28
_CLOSING = ".,;:!?*_"


def find_service_secrets(folded: FoldedText) -> Iterator[Span]:
    reached, judge = 0, Judge()
    for start, end in folded.find_spans(_SERVICE):
        if start < reached or _is_another_word(folded.text, start, end):
            continue
        match = _BESIDE.match(folded.text, end, end + _MAX_REACH)
        if match is None or _NO_SECRET.search(folded.text[end : match.start(1)].rstrip(" :=\"'")):
            continue
        value = match[1].rstrip(_CLOSING)
        if _is_key(value, judge, ambiguous=folded.text[start:end].lower() in AMBIGUOUS):
            whole = _BESIDE.match(folded.text, end, end + _MAX_LENGTH)
            reached = match.start(1) + len((whole or match)[1].rstrip(_CLOSING))
            yield Span(match.start(1), reached, "api_key", 0.5, "beside_service")


def _is_another_word(text: str, start: int, end: int) -> bool:
    """Return True if a name is the beginning of another word, as ``rev`` of ``revision``, but not for ``adobekey``."""
    goes_on = text[end : end + 1].islower() and text[start:end].islower()
    return goes_on and not _GOES_ON.match(text, end)


def _is_key(value: str, judge: Judge, *, ambiguous: bool) -> bool:
    if _PATH.match(value) or (ambiguous and (len(value) < _MIN_BESIDE_A_WORD or _UUID.fullmatch(value))):
        return False
    if ambiguous and _HASH.fullmatch(value):
        return False
    return judge.random(value, least=_MIN_LENGTH) or is_filler(value) or _in_equal_groups(value)


def _in_equal_groups(value: str) -> bool:
    """Return True for ``ABCDE12-ABCDE12-ABCDE12-ABCDE12``."""
    return _GROUPS.fullmatch(value) is not None and len({len(group) for group in value.split("-")}) == 1


SERVICE_RULES = (Rule(_SERVICE, find_service_secrets),)
