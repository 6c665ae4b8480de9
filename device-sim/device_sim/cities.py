"""Cities: where a fleet can work, with its clock, its centre, and what people and streets are called there.

The list is spread over the time zones so that `choose` always finds a city where it is the middle of the working day. Names are
pairs of what a person reads and what an address can hold (ASCII, lower case).
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

NOON_H = 13.0
"""Local hour at which all shifts overlap (`roster`): the best moment to look at a fleet."""

Name = tuple[str, str]


class Culture(Struct, frozen=True, kw_only=True):
    """How people and addresses are named. `person` and `address` are format strings."""

    family: tuple[Name, ...]
    given: tuple[Name, ...]
    person: str
    streets: tuple[str, ...]
    house: str
    flat: str


class City(Struct, frozen=True, kw_only=True):
    """`code` is part of every id, so that fleets of two cities can share one system."""

    key: str
    code: str
    zone: str
    lon: float
    lat: float
    culture: Culture


def choose(now: float) -> City:
    """The city where it is nearest to the middle of the working day."""
    moment = datetime.fromtimestamp(now, UTC)

    def distance_h(city: City) -> float:
        local = moment.astimezone(ZoneInfo(city.zone))
        away = abs(local.hour + local.minute / 60 - NOON_H)
        return min(away, 24 - away)

    return min(CITIES.values(), key=lambda city: (distance_h(city), city.key))


def named(key: str) -> City:
    """The city of that key; raises ValueError that lists the keys."""
    if key not in CITIES:
        raise ValueError(f"no city {key!r}; there are {', '.join(sorted(CITIES))}, and auto")
    return CITIES[key]


def _names(words: str) -> tuple[Name, ...]:
    """`王=wang 李=li` or `Aino Eero`: what is read, and what an address can hold when it differs."""
    pairs = (word.partition("=") for word in words.split())
    return tuple((shown.replace("_", " "), (slug or shown).lower()) for shown, _, slug in pairs)


def _streets(words: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in words.split())


_CHINESE = Culture(
    family=_names("王=wang 李=li 张=zhang 刘=liu 陈=chen 杨=yang 赵=zhao 黄=huang 周=zhou 吴=wu 徐=xu 孙=sun 马=ma 朱=zhu 郭=guo"),
    given=_names(
        "秀英=xiuying 桂兰=guilan 淑珍=shuzhen 玉梅=yumei 建国=jianguo 丽华=lihua 红梅=hongmei 春燕=chunyan 晓丽=xiaoli "
        "志强=zhiqiang 美玲=meiling 雪芳=xuefang 冬梅=dongmei 国平=guoping 小红=xiaohong 文静=wenjing 凤霞=fengxia"
    ),
    person="{family}{given}",
    streets=_streets(
        "光华路 建国路 朝阳北路 工体东路 团结湖路 金台路 三里屯路 东直门外大街 呼家楼北街 农展馆南路 西大望路 百子湾路"
    ),
    house="{street}{number}号院",
    flat="{street}{number}号{stair}单元{flat}室",
)
_FINNISH = Culture(
    family=_names(
        "Korhonen Virtanen Mäkinen=makinen Nieminen Mäkelä=makela Hämäläinen=hamalainen Laine Heikkinen Koskinen Järvinen=jarvinen "
        "Lehtonen Nguyen Ahmed Ivanova Kask"
    ),
    given=_names("Aino Eeva Helmi Kaarina Marjatta Tuula Eero Juhani Matti Olavi Sanna Hanna Minh Amina Olga Liis Noora Pekka"),
    person="{given} {family}",
    streets=_streets(
        "Mannerheimintie Hämeentie Runeberginkatu Topeliuksenkatu Mechelininkatu Fleminginkatu Vaasankatu Kalevankatu Bulevardi "
        "Albertinkatu Porvoonkatu Sturenkatu"
    ),
    house="{street} {number}",
    flat="{street} {number} {stair_letter} {flat}",
)
_PORTUGUESE = Culture(
    family=_names(
        "Silva Santos Ferreira Pereira Oliveira Costa Rodrigues Martins Sousa Fernandes Gonçalves=goncalves Gomes Lopes Almeida"
    ),
    given=_names(
        "Maria Ana Rosa Fátima=fatima Conceição=conceicao Teresa Beatriz Inês=ines Luísa=luisa João=joao António=antonio José=jose "
        "Manuel Paulo Sofia Aparecida Edilene"
    ),
    person="{given} {family}",
    streets=_streets(
        "Rua_da_Prata Rua_do_Ouro Avenida_da_Liberdade Rua_Augusta Rua_das_Flores Rua_de_São_Bento Rua_da_Consolação Rua_Direita "
        "Rua_do_Comércio Travessa_do_Carmo Rua_São_Paulo Alameda_Santos"
    ),
    house="{street} {number}",
    flat="{street} {number}, {floor}.º {stair_letter}",
)
_ENGLISH = Culture(
    family=_names(
        "Smith Johnson Garcia Nguyen Williams Kim Brown Martinez Davis Lee Patel Tupou Nakamura Kealoha Walker Reyes Okafor"
    ),
    given=_names(
        "Mary Patricia Linda Dorothy Margaret Betty James Robert Rosa Grace Mei Leilani Aroha Maria Chidi Ana Hannah Ruth Samuel"
    ),
    person="{given} {family}",
    streets=_streets(
        "Maple_Street Oak_Avenue Washington_Street Park_Avenue Cedar_Lane Elm_Street Lincoln_Avenue Queen_Street Pine_Street "
        "Highland_Avenue Church_Street Victoria_Street"
    ),
    house="{number} {street}",
    flat="{number} {street}, Apt {flat}",
)
_GULF = Culture(
    family=_names("Al_Mansoori=almansoori Khan Haddad Fernandes Santos Reyes Nair Thomas Hussain Rahman Perera Darwish Aziz Cruz"),
    given=_names("Fatima Mariam Aisha Noura Omar Yusuf Maricel Jocelyn Priya Anita Samira Layla Rashid Grace Sunil"),
    person="{given} {family}",
    streets=_streets(
        "Al_Wasl_Road Al_Rigga_Road Jumeirah_Street Al_Manara_Street Al_Diyafah_Street Hatta_Street Al_Maktoum_Road Beach_Road"
    ),
    house="Villa {number}, {street}",
    flat="{number} {street}, Flat {flat}",
)
_INDIAN = Culture(
    family=_names(
        "Sharma Patil Deshmukh Shaikh Fernandes Iyer Kulkarni Joshi Gupta Shah Mehta Naik Kamble Pawar More D'Souza=dsouza"
    ),
    given=_names("Sunita Lakshmi Kavita Asha Meena Rekha Savita Anjali Shobha Ramesh Suresh Vijay Farida Mary Pooja Usha"),
    person="{given} {family}",
    streets=_streets(
        "Hill_Road Linking_Road SV_Road Carter_Road Turner_Road Pali_Mala_Road Perry_Cross_Road LBS_Marg Ambedkar_Road Chapel_Road"
    ),
    house="{number}, {street}",
    flat="{flat}, {number} {street}",
)

CITIES = {
    city.key: city
    for city in (
        City(key="auckland", code="akl", zone="Pacific/Auckland", lon=174.7633, lat=-36.8785, culture=_ENGLISH),
        City(key="beijing", code="bjs", zone="Asia/Shanghai", lon=116.4610, lat=39.9200, culture=_CHINESE),
        City(key="mumbai", code="bom", zone="Asia/Kolkata", lon=72.8450, lat=19.0600, culture=_INDIAN),
        City(key="dubai", code="dxb", zone="Asia/Dubai", lon=55.2850, lat=25.2200, culture=_GULF),
        City(key="helsinki", code="hel", zone="Europe/Helsinki", lon=24.9450, lat=60.1870, culture=_FINNISH),
        City(key="lisbon", code="lis", zone="Europe/Lisbon", lon=-9.1500, lat=38.7400, culture=_PORTUGUESE),
        City(key="sao-paulo", code="sao", zone="America/Sao_Paulo", lon=-46.6560, lat=-23.5600, culture=_PORTUGUESE),
        City(key="new-york", code="nyc", zone="America/New_York", lon=-73.9600, lat=40.6700, culture=_ENGLISH),
        City(key="denver", code="den", zone="America/Denver", lon=-104.9700, lat=39.7250, culture=_ENGLISH),
        City(key="honolulu", code="hnl", zone="Pacific/Honolulu", lon=-157.8300, lat=21.2950, culture=_ENGLISH),
    )
}
