"""Names of services that give out keys: beside one of them, a random word is a key."""

from __future__ import annotations

SERVICES = tuple(
    """
    abstractapi abuseipdb accuweather adobe adzuna aeroworkflow affinda agora aha airbrake airship airtable
    airvisual alchemy alegra aletheia algolia alibaba alienvault allsports amadeus ambee amplitude anypoint
    apacta api2cart apideck apiflash apifonica apify apilayer apimatic apimetrics apitemplate apollo appcues
    appfollow appointedd appoptics appsynergy artifactory artsy asana assemblyai atera audd auth0 autodesk
    autoklose autopilot avaza aviationstack axonaut aylien ayrshare bannerbear baremetrics baseapi beamer bearer
    beebole besttime betterstack billomat bitbar bitbucket bitcoinaverage bitfinex bitly bitmex blazemeter
    blitapp blogger bombbomb boostnote borgbase braintree brandfetch browserstack browshot bscscan buddyns
    bugherd bugsnag buildkite bulbul bulksms buttercms caflou calendarific calendly calorieninja campayn canny
    capsulecrm captaindata carboninterface cashboard caspio censys centralstation cexio chartmogul chatbot
    chatfule checio checklyhq checkout checkvist cicero circleci clarifai clearbit clickhelp clicksend clickup
    cliengo clinchpad clockify clockwork cloudconvert cloudelements cloudflare cloudimage cloudinary
    cloudmersive cloudplan cloudsmith cloverly cloze clustdoc codacy codeclimate codecov codemagic codequiry
    coinapi coinbase coinlayer coinlib collect2 column commercejs commodities companyhub confluent contentful
    contentstack conversiontools convertapi convertkit convier copper countrylayer courier coveralls craftmypdf
    crowdin cryptocompare currencycloud currencyfreaks currencylayer currencyscoop currentsapi customerguru
    customerio d7network dailyco dandelion dareboost databox databricks datadog datafire datagov debounce deepai
    deepgram delighted demio deputy detectify detectlanguage dfuse diffbot diggernaut digitalocean discord
    discourse disqus ditto dnscheck docker docparser documo docusign doppler dotmailer dovico drift droneci
    dropbox duply dwolla dynalist dynatrace dyspatch eagleeyenetworks easyinsight easypost ecostruxureit edamam
    edenai eightxeight elasticemail elevenlabs enablex endorlabs enigma enphase eraser etherscan etsy eventbrite
    everhour exchangerate expensify facebook faceplusplus fastforex fastly fibery figma fileio finage
    financialmodelingprep findl finicity finnhub fixer fixerio flatio fleetbase flexport flickr flightapi
    flightlabs flightstats float flowflu flutterwave fmfw formbucket formcraft formio formsite foursquare
    freshbooks freshdesk freshworks front fulcrum fullstory fusebill fxmarket geckoboard gemini gengo geoapify
    geocode geocodify geocodio geoipify getemail getgeoapi getgist getresponse getsandbox ghost gitea github
    gitlab gitter glassnode gocanvas gocardless gofile goodday grafana graphcms graphhopper groovehq gtmetrix
    guardianapi gumroad guru gyazo happi happyscribe harness hasura helpcrunch helpscout hereapi heroku hiveage
    holidayapi host2 hotelbeds html2pdf hubspot huggingface humanity hunter hybiscus hypertrack iconfinder
    iexapis iexcloud imagekit imagga impala infura insightly instabot instamojo integromat intercom interseller
    intra42 intrinio invoiceocean ip2location ipapi ipgeolocation ipify ipinfo ipinfodb ipquality ipstack ixapi
    jdbc jira jiratoken jotform jumpcloud jupiterone juro kaleyra kanban kanbantool karmacrm keenio kickbox
    klaviyo klipfolio knapsackpro kontent kraken kucoin kylas lacework languagelayer lark launchdarkly
    leadfeeder lemlist lemonsqueezy lendflow lessannoyingcrm lexigram linear linkedin linkpreview liveagent
    livestorm loadmill lob locationiq logdna loggly loginradius logzio lokalise looker loyverse luno madkudu
    magicbell magnetic mailboxlayer mailboxvalidator mailchimp mailerlite mailgun mailjet mailmodo mailsac
    mandrill mapbox mapquest marketstack mattermost mavenlink maxmind mediastack meistertask meraki mesibo
    messagebird metaapi metabase metrilo microsoft midise mindmeister miro mite mixcloud mixmax mixpanel
    mockaroo moderation monday monkeylearn moonclerk moosend moralis mrticktock mux myexperiment myintervals
    nasdaq nasdaqdatalink nethunt netlify neutrino newrelic newsapi newscatcher nexmo nftport ngc ngrok
    nicereply nightfall nimble noticeable notion nozbe npm nuget numverify nutritionix nutshell nvapi nylas
    nytimes oanda okta omnisend onedesk onelogin onepagecrm onesignal onfido onfleet onwater oopspam openai
    opencage opengraph openuv openvpn openweather opsgenie optimizely otter overloop owlbot packagecloud pagarme
    pagerduty pandadoc pandascore paperform paralleldots parsehub parsers parseur partnerstack passbase pastebin
    paydirtapp paymo paymongo paypal paystack pdflayer pdfshift peopledatalabs pepipost percy phantombuster
    photoroom phraseaccess pinata pinecone pipedream pipedrive pivotaltracker pixabay plaid plaidkey planetscale
    planview planyo plivo podio pollsapi poloniex polygon portainer positionstack postageapp postbacks posthog
    postman postmark powrbot prefect privacy privatebin procore prodpad prospectcrm protocolsio proxycrawl
    pubnub purestake pusher qase qualaroo qubole quickmetrics ramp rapidapi raven rawg razorpay readme
    reallysimple rebrandly rechargepayments redis refiner rentman repairshopr replicate replyio requestfinance
    restpack restpackhtml rev revamp rezgo ringcentral ritekit roaring rocketreach rollbar roninapp route4me
    rownd rubygems runrunit salesblink salescookie salesflare salesforce salesloft salesmate satismeter
    saucelabs scaleway scalewaykey scalr scrapeowl scraperapi scraperbox scraperstack scrapestack scrapfly
    scrapingant scrapingbee screenshotapi screenshotlayer scrutinizer securitytrails segment selectpdf semaphore
    semrush sendbird sendgrid sendinblue sentiment sentry serpapi serphouse serpstack sheety sherpadesk shipday
    shippo shodan shopify shortcut shotstack shutterstock sigma signable signalwire signaturit signupgenius
    sigopt simfin simplesat simplynoted simvoly sinch sirv siteleaf skrappio skrapp skybiometry slack
    smartsheets smartystreets smooch snipcart snowflake snyk sonar sonarcloud sonarqube sourcegraph sparkpost
    speechtext splunk spoonacular sportradar sportsmonk spotify spotinst square squareapp squarespace squareup
    sslmate stackhawk statuscake statuspage statuspal stitchdata stockdata storecove stormboard stormglass
    storyblok storychief strava streak stripe stripo stytch sugester sumologic supabase supernotes surge
    surveyanyplace surveybot surveymonkey surveysparrow survicate swell swiftype tableau tailscale tallyfy
    tatumio taxjar teamgate teamworkcrm teamworkdesk teamworkspaces technicalanalysis telegram telesign telnyx
    terraform text2data textmagic theoddsapi the-odds-api thinkific thousandeyes ticketmaster ticktick tiingo
    timecamp timezoneapi tineswebhook tly tmetric todoist toggl toggltrack tokeet tomorrowio tomtom tradier
    transferwise travelpayouts travisci trello trelloapi trufflehog twelvedata twilio twist twitch twitter
    tyntec typeform typetalk ubidots uclassify unifyid unplugg unsplash upcdatabase uplead uploadcare
    uptimerobot upwave uri urlscan userflow userstack vatlayer vbout vercel verifier verimail veriphone
    versioneye viewneo virustotal visualcrossing voicegain voodoosms vouchery vpnapi vultr vyte walkscore
    weatherbit weatherstack web3storage webex webflow webscraper webscraping websitepulse whoxy wistia wiz
    workday worksnaps workstack worldcoinindex worldweather wrike xata yahoo yandex yelp yext youneedabudget
    youtube zendesk zenkit zenrows zenscrape zenserp zeplin zerobounce zerotier zillow zipapi zipbooks
    zipcodeapi zoho zonka zoom zulipchat
    """.split()  # noqa: SIM905 (a list of a word a line would fill pages)
)
AMBIGUOUS = frozenset(
    """
    adobe affinda aha bearer canny column dailyco discord ditto docker drift enigma eraser expensify facebook
    fixer flat float front ghost github gitlab guru harness here hunter impala linear lob looker microsoft mite
    moderation monday nimble notion npm otter percy polygon portal privacy prodpad purestake ramp raven readme
    redis rev revamp segment semaphore sentiment sentry shortcut sigma slack sonar square streak surge swell
    terraform trello twist twitter uri wiz yahoo youtube zoom
    """.split()  # noqa: SIM905 (as above)
)
"""Those that are words as well: a random word beside them has to be long."""
